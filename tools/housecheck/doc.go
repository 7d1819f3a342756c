// Command housecheck holds the repository to its plan: imports go down the levels, each outside thing has
// one door, every package says what it is, and nothing grows too large to be read.
//
// Flow: loadTree parses every Go file of the module (syntax only, so it takes a second or two) -> each rule
// of the rules table yields findings -> exceptions.txt removes the reviewed ones -> the rest is printed as
// "file:line: [rule] what is wrong; the mend", and the exit status is 1.
//
//	go run ./tools/housecheck        check the module that holds the working directory
//	go test ./tools/housecheck       the same as a test, and each rule against a planted breach
//
// H1: a rule that no archive below testdata breaks is a failure of the package's own test.
// H2: an exception that no finding uses is itself a finding, so the list can only shrink with the code.
//
// Being syntactic, the check knows names, not types: it follows import names and package-level variables,
// and that has to be enough. Folders with their own go.mod, testdata and hidden folders are not read.
//
// Files: tree.go (parsing), rule.go (the table, findings, exceptions), levels.go (imports and their levels),
// doors.go (single doors and banned calls), docs.go (comments and names), sizes.go, state.go (package state).
package main
