// Package sigv4 reads and verifies AWS Signature Version 4: the login messages of AWS_MSK_IAM and OAUTHBEARER, which are presigned
// URLs, and signed HTTP requests. It is pure: it knows no keys, no clock and no network.
//
// Flow: ParseIAM, ParseBearer or ParseRequest -> *Signed -> the caller finds the key of Signed.KeyID -> Signed.Check(Rules, now) ->
// Signed.Verify(secret). Sign makes what ParseRequest reads.
//
// V1: what is signed is what is used: every value that Check or a caller looks at is covered by the signature, or is itself the claim that
// it proves (the key's id). A second parameter of the same name is refused in a login, as is a header x-amz-… that is not signed.
// V2: Verify compares in constant time, and takes as long for a wrong key as for the right one.
// V3: no secret and no signature is in any error or String of this package.
// V4: input is bounded before it is decoded: maxLogin bytes for a login, maxHeaders for what is signed of a request.
// V5: a parser never panics, whatever it is given, and refuses what it does not understand rather than guess.
//
// Lifetimes: a presigned login names its own, of 15 minutes at most, counted from the time in it; a request lives for the skew around its time.
// Rules.Skew is how far the client's clock may be off, either way.
//
// Everything here is safe for concurrent use as long as a Signed is not changed. Files: signed.go, iam.go, bearer.go, request.go,
// canonical.go.
package sigv4
