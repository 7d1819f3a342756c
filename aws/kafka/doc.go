// Package kafka is the service `kafka` of the AWS API, version 2018-11-14, in its own shapes: clusters, nodes, operations, configurations,
// versions and topics. Replicators and channels are refused in the API's own words. What secrets, policies, VPC connections and tags are to
// it stands in aws/kafka/access.
//
// Flow: aws/door knows who calls and whether they may -> an operation of the table (routes.go) -> door.Decode -> what was asked for is
// checked and becomes control.Settings -> one call into the control plane, the configurations or the topics -> the answer's shape. Errors
// become the ones that the operation declares (errors.go).
//
//	wire shape -> Settings   settings.go, auth.go (on create, and on each update over what was)
//	Settings -> wire shape   describe.go, auth.go
//
// Invariants, each with a test:
//
//	K1  The table has each operation of the service model that is this package's with its method, path, status, and an operation answers with
//	    no error that its model does not declare. Answers keep to the model's shapes.
//	K2  A refused request has changed nothing: everything that the API can refuse is refused before the one call that changes something.
//	K3  An update is made of the Settings that belong to the version that the caller named, and begins only while that version is current.
//	K4  What the API shows of a cluster gives, taken as a request, the same Settings: nothing that a client sends back is a change.
//	K5  A cluster offers no way in without a login but by `unauthenticated`, and none without TLS but by `clientBroker`.
//	K6  Bootstrap strings name every broker, by its number, whether it runs or not.
//
// A Service is safe for concurrent use and keeps no state. Files: routes.go (the table), service.go, errors.go, shapes.go; create.go,
// describe.go, bootstrap.go, nodes.go, update.go, capacity.go (updates of brokers and volumes), operations.go, versions.go, configurations.go,
// topics.go, refused.go.
package kafka
