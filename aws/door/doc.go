// Package door is what all AWS services of the installation have in common towards their clients: one http.Handler that finds out which
// service and operation a request is for, who has signed it, whether they may, what the answer or the error looks like on the wire.
//
// A service is a table of Operations with functions that each decode, make one call into the room that knows, and return what to encode.
//
// Flow: request -> Handler (id, bound of the body) -> signature (secure/login) -> Service by the scope of the signature -> Operation by the raw
// path, the target or the action -> throttle -> policies (secure/iam) -> Operation.Handle -> trail -> answer or Error in the service's protocol.
//
// DO1: Nothing of a service runs before the signature was verified, and nothing of an operation before its action was allowed.
// DO2: A label of a path is one segment of the raw, escaped path, unescaped once: an ARN keeps its slashes, and what was escaped twice stays escaped.
// DO3: Every answer has a request id; an error says its code where SDKs look for it. What is told of a fault of ours is its id, not its text.
// DO4: Every call is told to the trail, once, refused ones too; nothing secret is in it: bodies are not, only what an operation gives to Changed.
// DO5: Memory is bounded whatever comes: bodies, depth and width of JSON, buckets of throttles.
// DO6: A page's token holds while things come and go: all that is there the whole time is told once, in order.
//
// A Handler is safe for concurrent use; a Call belongs to the request that it is of. Files: call.go (Call, Operation, Service), errors.go, decode.go and
// rule.go (input), page.go, router.go, handler.go.
package door
