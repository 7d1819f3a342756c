// Package gateway is a front for a Kafka cluster: clients log in here, every request is authorized here, and what is left of it goes to
// the broker behind. It gives Apache Kafka the logins, policies, allow-lists, quotas and audit of Millrace.
//
// Flow: listener (allow-list) -> kafka/server -> Door (login) -> table (what a key needs) -> Authorizer -> what may pass of the request ->
// the connection to the broker -> its answer, with addresses of the gateway, without what may not be described, with the refusals
// merged in -> kafka/server -> client.
//
// Each connection of a client has one connection to a broker of its own, made with its first request that needs one. Broker N is behind
// port P+1+N-FirstNode of a listener whose bootstrap port is P; the bootstrap port itself leads to any broker. So every gateway tells
// the same addresses without knowing of others, and a client finds its way through any of them.
//
// Invariants:
//
//   - GW1 Nothing passes unauthorized: a byte goes to a broker only when the connection has an identity and the table's rule for the key
//     has asked the Authorizer about every resource that the request names. A key that is not in the table is never sent. A topic id
//     is asked about by its name; an id without a name is refused here.
//   - GW2 Nothing is leaked: an answer holds no resource that its rule does not let the caller see, and no address of a broker. The
//     refusals are Apache Kafka's own, and a resource that may not be seen looks the same as one that is not there where Kafka has it so.
//   - GW3 Order: the answers of a connection come in the order of its requests, whether a broker gave them or the gateway did.
//   - GW4 Records pass byte for byte, in both directions. They are neither decompressed nor copied.
//   - GW5 Memory is bounded: requests by server.Config, answers by Config.AnswerBytes over all and Config.ConnAnswerBytes for each
//     connection. A client that does not read its answers stops its own broker connection only.
//   - GW6 No input of a client or a broker makes it panic; bad input of a broker ends that one connection, and no answer is made up for what
//     a broker has not answered: the client's connection ends and it tries again, as with a broker that dies.
//   - GW7 Stateless: nothing outlives a connection but caches of what the cluster itself says (brokers, versions, names of topic ids,
//     quotas). A fetch session lives in the broker, and only as long as every partition asked for in it is allowed.
//   - GW8 An answer is given to the request that it answers: correlation ids are checked, and an answer that nobody asked for ends the
//     connection.
//
// Concurrency: a Gateway is safe for concurrent use. Requests of one connection are authorized one after the other on its reader
// goroutine, answers are taken on the goroutine that reads the broker's connection.
//
// Files: config.go, gateway.go (life, listeners, the handler), view.go (what is known of the cluster), names.go (topic ids), session.go (one client
// connection), upstream.go and dial.go (the connection behind it), sasl.go (its login), call.go (one request), authorize.go (questions), table.go (what each
// key needs), produce.go, fetch.go, share.go, metadata.go, topics.go, configs.go, groups.go, offsets.go, transactions.go, cluster.go (rules by group
// of keys), record.go (the trail), mirror.go (refusals).
package gateway
