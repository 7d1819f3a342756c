// Package arn is the names of things in the installation as the AWS API has them: it makes Amazon Resource Names and takes them apart.
//
// Flow: a door has a Home, which is the region and the account of the installation -> Home.Cluster and its like make an ARN -> Home.Find
// and Parse read what a client sends.
//
// The forms, all of service "kafka" but the last:
//
//	arn:aws:kafka:R:A:cluster/NAME/UUID-N
//	arn:aws:kafka:R:A:cluster-operation/NAME/UUID-N/UUID
//	arn:aws:kafka:R:A:configuration/NAME/UUID-N
//	arn:aws:kafka:R:A:vpc-connection/OWNER/NAME/UUID     A is whose network it is, OWNER whose cluster
//	arn:aws:kafka:R:A:replicator/NAME/UUID-N
//	arn:aws:kafka:R:A:channel/NAME/UUID-N/UUID
//	arn:aws:kafka:R:A:broker/NAME/UUID-N/UUID            of a node
//	arn:aws:kafka:R:A:topic/NAME/UUID-N/TOPIC            and group/, transactional-id/
//	arn:aws:secretsmanager:R:A:secret:NAME-6RANDOM
//
// AR1: What is parsed is written again as it was, to the letter; what is made of valid parts is parsed into them.
// AR2: Parse refuses what is not one of the forms, whatever a client sends; it takes time linear in the text and keeps none of it
// beyond its parts.
//
// Everything is plain data, safe for concurrent use. Files: arn.go (any ARN), kafka.go (the forms of kafka), secret.go.
package arn
