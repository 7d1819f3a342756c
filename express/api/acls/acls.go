// Package acls puts the requests about ACLs (keys 29 to 31) into the words of secure/acl, and its answers into responses.
//
// Flow: request -> Describe, Create, Delete -> acl.Snapshot or acl.Store -> response. Who may ask is the caller's to check, what to record
// as well: Create and Delete tell which bindings they were about.
//
// Apache Kafka fails a whole request, without an answer, that has elements of the number 0 (UNKNOWN); Known tells. Other
// numbers that it does not know are errors of the binding or filter. Bindings with what has a meaning in filters only fail all bindings
// of their request, with UNKNOWN_SERVER_ERROR.
package acls

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/secure/acl"
)

// NoAuthorizer is what brokers say that authorize nothing.
const NoAuthorizer = "No Authorizer is configured."

// Known says whether a request may be answered at all.
func Known(q kmsg.Request) bool {
	unknown := func(resource kmsg.ACLResourceType, kind kmsg.ACLResourcePatternType, op kmsg.ACLOperation, permission kmsg.ACLPermissionType) bool {
		return resource == 0 || kind == 0 || op == 0 || permission == 0
	}
	switch q := q.(type) {
	case *kmsg.DescribeACLsRequest:
		return !unknown(q.ResourceType, q.ResourcePatternType, q.Operation, q.PermissionType)
	case *kmsg.CreateACLsRequest:
		for _, c := range q.Creations {
			if unknown(c.ResourceType, c.ResourcePatternType, c.Operation, c.PermissionType) {
				return false
			}
		}
	case *kmsg.DeleteACLsRequest:
		for _, f := range q.Filters {
			if unknown(f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType) {
				return false
			}
		}
	}
	return true
}

// Describe lists what the request's filter finds, together for each resource.
func Describe(list *acl.Snapshot, q *kmsg.DescribeACLsRequest) *kmsg.DescribeACLsResponse {
	resp := kmsg.NewPtrDescribeACLsResponse()
	resp.ErrorMessage = new(string) // empty, not null, as in Kafka
	f := acl.Filter{
		Resource: q.ResourceType, Name: q.ResourceName, Pattern: q.ResourcePatternType,
		Principal: q.Principal, Host: q.Host, Operation: q.Operation, Permission: q.PermissionType,
	}
	for _, b := range list.Find(f) {
		n := len(resp.Resources)
		if n == 0 || !about(&resp.Resources[n-1], b) {
			r := kmsg.NewDescribeACLsResponseResource()
			r.ResourceType, r.ResourceName, r.ResourcePatternType = b.Resource, b.Name, b.Pattern
			resp.Resources = append(resp.Resources, r)
			n++
		}
		resp.Resources[n-1].ACLs = append(resp.Resources[n-1].ACLs, kmsg.DescribeACLsResponseResourceACL{
			Principal: b.Principal, Host: b.Host, Operation: b.Operation, PermissionType: b.Permission,
		})
	}
	return resp
}

func about(r *kmsg.DescribeACLsResponseResource, b acl.Binding) bool {
	return r.ResourceType == b.Resource && r.ResourceName == b.Name && r.ResourcePatternType == b.Pattern
}

// RefusedCreate answers every creation with one error.
func RefusedCreate(q *kmsg.CreateACLsRequest, code kerr.Code, text *string) *kmsg.CreateACLsResponse {
	resp := kmsg.NewPtrCreateACLsResponse()
	for range q.Creations {
		resp.Results = append(resp.Results, kmsg.CreateACLsResponseResult{ErrorCode: int16(code), ErrorMessage: text})
	}
	return resp
}

// Bindings are those that a request wants to create.
func Bindings(q *kmsg.CreateACLsRequest) []acl.Binding {
	list := make([]acl.Binding, len(q.Creations))
	for i, c := range q.Creations {
		list[i] = acl.Binding{
			Resource: c.ResourceType, Name: c.ResourceName, Pattern: c.ResourcePatternType,
			Principal: c.Principal, Host: c.Host, Operation: c.Operation, Permission: c.PermissionType,
		}
	}
	return list
}

// FiltersOnly says whether a binding of the request has an element that only filters may have.
func FiltersOnly(q *kmsg.CreateACLsRequest) bool {
	return slices.ContainsFunc(q.Creations, func(c kmsg.CreateACLsRequestCreation) bool {
		return c.ResourceType == kmsg.ACLResourceTypeAny || c.Operation == kmsg.ACLOperationAny || c.PermissionType == kmsg.ACLPermissionTypeAny ||
			c.ResourcePatternType == kmsg.ACLResourcePatternTypeAny || c.ResourcePatternType == kmsg.ACLResourcePatternTypeMatch
	})
}

// Create adds the request's bindings. errs has an error for each; nil where it is in force.
func Create(ctx context.Context, store *acl.Store, q *kmsg.CreateACLsRequest) (resp *kmsg.CreateACLsResponse, errs []error, err error) {
	if errs, err = store.Create(ctx, Bindings(q)); err != nil {
		return nil, nil, err
	}
	resp = kmsg.NewPtrCreateACLsResponse()
	for _, err := range errs {
		out := kmsg.NewCreateACLsResponseResult()
		out.ErrorMessage = new(string)
		if err != nil {
			text := err.Error()
			out.ErrorCode, out.ErrorMessage = int16(kerr.Of(err)), &text
		}
		resp.Results = append(resp.Results, out)
	}
	return resp, errs, nil
}

// RefusedDelete answers every filter with one error.
func RefusedDelete(q *kmsg.DeleteACLsRequest, code kerr.Code, text *string) *kmsg.DeleteACLsResponse {
	resp := kmsg.NewPtrDeleteACLsResponse()
	for range q.Filters {
		resp.Results = append(resp.Results, kmsg.DeleteACLsResponseResult{ErrorCode: int16(code), ErrorMessage: text})
	}
	return resp
}

// Delete takes away what the request's filters find. deleted has what each did.
func Delete(ctx context.Context, store *acl.Store, q *kmsg.DeleteACLsRequest) (resp *kmsg.DeleteACLsResponse, deleted []acl.Deleted, err error) {
	filters := make([]acl.Filter, len(q.Filters))
	for i, f := range q.Filters {
		filters[i] = acl.Filter{
			Resource: f.ResourceType, Name: f.ResourceName, Pattern: f.ResourcePatternType,
			Principal: f.Principal, Host: f.Host, Operation: f.Operation, Permission: f.PermissionType,
		}
	}
	if deleted, err = store.Delete(ctx, filters); err != nil {
		return nil, nil, err
	}
	resp = kmsg.NewPtrDeleteACLsResponse()
	for _, d := range deleted {
		out := kmsg.NewDeleteACLsResponseResult()
		out.ErrorMessage = new(string)
		if d.Err != nil {
			text := d.Err.Error()
			out.ErrorCode, out.ErrorMessage = int16(kerr.Of(d.Err)), &text
		}
		for _, b := range d.Bindings {
			m := kmsg.NewDeleteACLsResponseResultMatchingACL()
			m.ErrorMessage = new(string)
			m.ResourceType, m.ResourceName, m.ResourcePatternType = b.Resource, b.Name, b.Pattern
			m.Principal, m.Host, m.Operation, m.PermissionType = b.Principal, b.Host, b.Operation, b.Permission
			out.MatchingACLs = append(out.MatchingACLs, m)
		}
		resp.Results = append(resp.Results, out)
	}
	return resp, deleted, nil
}
