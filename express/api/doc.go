// Package api is the Kafka protocol of one express broker: one file per API key.
//
// Flow: server.Server reads a request -> API.Handle finds its key in the table -> decode, authorize, call
// one room (catalog, partition, the group coordinator), encode -> Request.Reply. The files NN_name.go hold
// no rule of their own beyond the protocol's; each begins with the versions served and what each adds.
//
// A1: What is not in the table is neither advertised nor answered.
// A2: An error never carries a plausible offset: base offset, high watermark and the like are -1 then.
// A3: Sentinels of the rooms become codes in errors.go only; one that is not there is logged and answered as
// UNKNOWN_SERVER_ERROR.
// A4: Produce answers when every partition has: the records are the partition's until then, and lie in the
// request's frame. It returns from Handle before, so that the next request of the connection is read.
// A5: The records of all fetch responses that are not yet written are bounded by Config.FetchBytes; parked
// fetches and fetch sessions are bounded in number.
// A6: The size of an answer is bounded by the size of the request and of what it asks for: what is asked for
// twice is answered once, and lists are cut off where Kafka allows it.
//
// An API is safe for concurrent use. Files: api.go (API, Handle), table.go (keys and versions), errors.go,
// authorize.go, topics.go (what several keys need of topics), and one file per key.
package api
