// Package telemetry is the receiving side of client metrics (KIP-714): which client shall push which metrics how often, the checks of
// what it pushes, and the last values of everything pushed.
//
// Flow: an administrator sets Subscriptions, which the catalog keeps -> a client asks (Manager.Get) and is told the union of those that
// match it -> it pushes (Manager.Push) -> decompressed, decoded and kept in Series -> shown among the broker's own metrics.
//
// A client instance goes through these states: unknown -> told of its subscription (Get) -> pushing, one push per interval
// -> terminating, after one last push at any time, from when on it is refused. One that is silent for three intervals, and at
// least a minute, is forgotten with all its values.
//
// T1: Whatever is pushed, memory is bounded: instances in number, a push by MaxBytes before and after decompression, and Series by
// number and by bytes, for each instance and in all. What is beyond is counted and dropped.
// T2: A push is taken as a whole or not at all; what cannot be decoded changes nothing.
// T3: A Table never changes. An instance that was told of an older one is told anew before it may push.
// T4: Decoding takes no memory beyond the push itself.
//
// Manager and Series are safe for concurrent use. Lock order: Manager.mu before Series.mu. Files: subscription.go,
// manager.go, otlp.go (the decoder), series.go.
package telemetry
