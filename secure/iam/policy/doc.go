// Package policy reads policies in the JSON of AWS IAM and decides by them. It is pure: no clock, no store, no network.
//
// Flow: text -> Parse (strict; compiled once) -> Policy -> Set (the policies that count for somebody on something) -> Set.Decide(Request) -> Decision.
//
// What is decided, and in which order:
//
//	P1: A Deny that matches in any policy of the Set decides, whatever else there is, for root too.
//	P2: Without a Deny, a request is allowed only by an Allow that matches. Nothing is allowed by default, but for root, to whom its
//	    identity allows everything.
//	P3: A session policy bounds: what the identity's policies allow, and what a resource policy allows to the role or to anybody, counts only
//	    where the session policies allow it too. What a resource policy allows to the very session (its assumed-role ARN) is not bounded.
//	P4: A resource policy that names the account (its root ARN or its number) delegates: by itself it allows something to root only.
//	P5: A variable without a value never widens: its pattern matches nothing, an Allow with NotResource or a negated operator on it does not apply.
//	    Text that a variable stands for matches only itself; stars in it are no wildcards.
//	P6: Wildcards in the first five parts of a Resource do not reach over a colon, unless the Resource has fewer than six parts and ends in a star.
//	P7: What Parse accepts, Decide handles without failing, in time linear in the policy and the product of pattern and name.
//	P8: Parse refuses what it does not know: elements, operators, doubled keys, wrong types, text after the end. The error names line, column and path.
//
// A Policy is not changed once made; Decide changes nothing and is safe for concurrent use. A Request belongs to the caller.
//
// Files: parse.go (JSON to statements), json.go (a JSON reader that knows places and doubled keys), statement.go, condition.go, operator.go,
// keys.go (what a request says), pattern.go (wildcards and variables), decide.go.
package policy
