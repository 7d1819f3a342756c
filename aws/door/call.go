package door

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"

	"millrace/secure/identity"
)

// Call is one request to a service, after its signature was checked. It belongs to the request: nothing keeps it.
type Call struct {
	Request *http.Request
	Params  map[string]string // labels of the path, unescaped once
	Query   url.Values
	Caller  identity.Identity // IAM is never nil
	Body    []byte            // whole; it is not to be changed
	ID      string            // of the request, a UUID
	Header  http.Header       // of the answer, beside what the door sets

	operation *Operation
	resource  string // as Operation.Resource gives it
	changed   bool
	before    any
	after     any
}

// Changed tells the trail what an operation has changed: the state before and after, nil where there was none, as JSON. There must be no
// secret in either. The last one counts.
func (c *Call) Changed(before, after any) { c.changed, c.before, c.after = true, before, after }

// Source is the address that the request came from; the zero Addr where it is not known.
func (c *Call) Source() netip.Addr {
	at, err := netip.ParseAddrPort(c.Request.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

// Operation is one operation of a service: the route, what a caller needs to be allowed, and what answers it. It is not changed once a Handler
// has it.
type Operation struct {
	Name   string // as SDKs have it, "UpdateBrokerCount"
	Method string // of REST
	Path   string // of REST, "/v1/clusters/{clusterArn}/nodes/count"
	Status int    // of the answer; 0: 200
	Reads  bool   // it changes nothing

	// Action is what policies are asked for, "kafka:UpdateBrokerCount"; "": whoever has signed may.
	Action string
	// Resource is the ARN that it is about; nil, or "" from it: "*". It is asked before the input was checked.
	Resource func(*Call) string
	// Needs are further permissions that a caller has to have; nil: none.
	Needs func(*Call) []Need
	// Tags are those that the request gives to something and the keys of those that it takes away (aws:RequestTag, aws:TagKeys); nil: "tags" of
	// the body and "tagKeys" of the query, for REST.
	Tags func(*Call) (set map[string]string, removed []string)

	// Handle answers. What it returns is encoded as JSON (as XML for Query), nil as nothing. Errors that are no *Error go through
	// Service.Error.
	Handle func(ctx context.Context, c *Call) (any, error)
}

// Need is one permission.
type Need struct {
	Action   string
	Resource string // ARN; "": "*"
}

// Protocol is how a service speaks.
type Protocol int

// The protocols.
const (
	RestJSON Protocol = iota // operations by method and path
	JSON11                   // operations by X-Amz-Target, all by POST to /
	Query                    // operations by the parameter Action of a form, answers in XML
)

// Service is what a Handler serves under one name. It is not changed once a Handler has it.
type Service struct {
	Name       string // in the scope of signatures, "kafka"
	Protocol   Protocol
	Target     string // of JSON11, what stands before the dot in X-Amz-Target: "secretsmanager", "AWSGlue"
	Version    string // of Query, "2011-06-15"
	Namespace  string // of Query, that of the XML
	Operations []Operation
	// Error gives the client's error for one that Handle returned; nil, or nil from it: it is not for clients, and they are told that
	// something has failed within.
	Error func(error) *Error
	// Tags are the tags of what an ARN names (aws:ResourceTag); nil, or nil from it: none.
	Tags func(ctx context.Context, arn string) map[string]string
	// Policy is the resource policy of what an ARN names, as JSON; nil, or nil from it: none. After an error nobody may do anything.
	Policy func(ctx context.Context, arn string) ([]byte, error)
	// Invalid is the code of input that Decode and Page refuse; "": BadRequestException.
	Invalid string
}
