// Package api is the Kafka protocol of one express broker: one file per API key.
//
// Flow: server.Server reads a request -> API.Handle finds its key in the table -> decode, authorize, call
// one room (catalog, partition, the group coordinator), encode -> Request.Reply. The files NN_name.go hold
// no rule of their own beyond the protocol's; each begins with the versions served and what each adds.
//
// A1: What is not in the table is neither advertised nor answered.
// A2: An error never carries a plausible offset: base offset, high watermark and the like are -1 then.
// A3: Sentinels of the rooms become codes in package codes only; one that is not there is logged and answered as
// UNKNOWN_SERVER_ERROR.
// A4: Produce answers when every partition has: the records are the partition's until then, and lie in the
// request's frame. It returns from Handle before, so that the next request of the connection is read.
// A5: The records of all fetch responses that are not yet written are bounded by Config.FetchBytes; parked
// fetches and fetch sessions are bounded in number.
// A6: The size of an answer is bounded by the size of the request and of what it asks for: what is asked for
// twice is answered once, and lists are cut off where Kafka allows it.
// A7: An answer to Metadata for named topics waits for leaders that are away or followed (heirs.go), a few seconds at most, and
// never where an answer about records could wait behind it.
// A8: Nothing is done, and nothing shown, before authz.Judge has allowed it; the order of its questions and of other errors is Kafka's, so
// that what exists looks to who may not see it like what does not. What only decides what is shown is asked as such (caller.looking).
// A9: What an administrator changes is told to the trail (recordAdmin), with what was before and after.
// A10: Clients are held, all together, to the limits of the broker, and what they produce and fetch is counted; nodes of the installation
// are neither (limits.go). They are told apart by the listener, where only their certificates are let in.
//
// An API is safe for concurrent use. Files: api.go (API, Handle), table.go (keys and versions), errors.go, authorize.go (A8), admin.go (A9), limits.go (A10),
// topics.go (what several keys need of topics), heirs.go (A7), and one file per key. What is pure conversion has rooms of its own
// below: acls, batches, changes, codes, configs, credentials, features, histogram, quotas, told.
package api
