// Package sts is the door of AWS STS: who somebody is, and sessions of roles and of users, for the clients that ask for them before they ask for
// anything else.
//
// Flow: aws/door -> an operation here -> Sessions, which is secure/iam's View.
//
// ST1: It holds no rule of its own: whom a trust policy lets assume a role is decided by secure/iam.
// ST2: What would bound a session and is not known here is refused, never ignored: a session may not be wider than its caller asked for.
// ST3: Who may not assume a role does not learn whether there is one.
//
// Safe for concurrent use. Files: sts.go (operations), form.go (input).
package sts
