// Package ship takes copies of the audit trail away from the host that writes it, so that who has the host does not have the only one.
//
// Flow: the lines of secure/trail -> batches of one writer each -> a Sink: a folder, a bucket (Objects), or a log group (package cloudwatch).
// The lines go as they are, so that a copy can be verified as the trail itself is.
//
// Invariants, each with a test:
//
//	SH1  Every line that stays on the disk until it is due is shipped, in order; a crash at any moment neither loses one nor puts one into two
//	     batches: which lines a batch has is saved before it goes, so that it goes again under the same name with the same content.
//	SH2  A sink that is away holds nothing back but the shipping: it is tried again, with a pause, for ever; memory holds one batch.
//	SH3  Lines that were removed as too old before they could be shipped are missed and told of.
//
// Files: ship.go, objects.go.
package ship
