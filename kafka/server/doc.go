// Package server is the connection layer of a Kafka broker: it accepts connections, cuts the byte streams into requests,
// hands them to a Handler in order, and writes the replies in the same order, however they complete.
//
// Flow: Serve -> Conn reads a frame (size, memory budget, slab) -> header -> Handler.Handle -> Request.Reply, at any time
// and from any goroutine -> the replies at the head of the connection's queue are encoded together and written with one
// writev. A reply that completes while its own Handle is still running is written by the reader when Handle returns, which
// costs no wake-up; any other is written by the connection's writer, which begins with the first of them. So who completes a
// request never blocks on a socket.
//
// SV1: replies leave a connection in the order of its requests; a request without reply holds nothing back once answered.
// SV2: every Response.Release is called exactly once, written or not, and every frame goes back to its pool exactly once.
// SV3: memory is bounded: frames by Config.InFlightBytes over all connections, beside one of at most 512 bytes for each
// connection, which so never waits for others; unwritten replies by
// Config.MaxInFlightPerConn and Config.ReplyQueueBytes for each; whoever reads slowly is not read from, and then cut off.
// SV4: no input makes it panic; bad input closes its own connection, with one log line at most and throttled over all.
// A panic in a Handler closes the connection of that request only.
// SV5: a client whose connection the server ends in Close gets all its answers, then the end of the stream, and a reset if it
// has not ended the connection itself a moment later: so none goes on with a connection that is dead without its knowing.
// SV6: when Close returns, every goroutine that Serve started has ended.
// SV7: World.Filter is asked about each connection before a byte of it is read. Once Recheck has returned, no connection is open that the
// filter did not allow when Recheck began.
//
// A connection is logged in once it has a principal (Conn.SetPrincipal). Before that it may send small frames only, and
// must get there within Config.HandshakeTimeout.
//
// SV8: who does not log in keeps nobody out: TLS handshakes compute in Config.Handshakes slots, which none holds while it waits for its
// peer; and when more than Config.MaxPending connections have not logged in, one of them goes.
// SV9: who comes in numbers has only itself in its way. Addresses take turns at those slots, whatever each has waiting. A connection that has
// not logged in goes only if no other address has more of them than its own, and is the oldest there; between addresses that have as
// many, the oldest goes. A /64 of IPv6 is one address here. What is kept about an address ends with its last connection.
//
// Lock order: Server.mu, then Conn.mu. No lock is held over IO, nor over a call of the Handler, but for that of gathered, as
// package tls holds its own over what it writes.
//
// Files: config.go, server.go (listeners, limits, shutdown), conn.go (one connection, reading), part.go (its end), tls.go (handshakes),
// turns.go (whose handshake is next), gather.go (writing over TLS), pending.go (connections before login), request.go (replies, in
// order), outbox.go (encoding and writing), metrics.go, gate.go (log throttling), filter.go (who may connect).
package server
