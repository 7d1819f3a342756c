package acl

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Filter says which bindings are looked for. The zero value is not valid; Any is the one that finds all.
type Filter struct {
	Resource   kmsg.ACLResourceType // ANY: all
	Name       *string              // nil: all
	Pattern    kmsg.ACLResourcePatternType
	Principal  *string // nil: all
	Host       *string // nil: all
	Operation  kmsg.ACLOperation
	Permission kmsg.ACLPermissionType
}

// Any is the filter that finds all bindings.
func Any() Filter {
	return Filter{
		Resource: kmsg.ACLResourceTypeAny, Pattern: kmsg.ACLResourcePatternTypeAny,
		Operation: kmsg.ACLOperationAny, Permission: kmsg.ACLPermissionTypeAny,
	}
}

// Validate returns an error that is kerr.InvalidRequest for a filter with an element that is not known.
func (f Filter) Validate() error {
	switch {
	case !resourceKnown(f.Resource), f.Pattern < kmsg.ACLResourcePatternTypeAny || f.Pattern > kmsg.ACLResourcePatternTypePrefixed:
		return invalid("Unknown patternFilter.")
	case !operationKnown(f.Operation), f.Permission < kmsg.ACLPermissionTypeAny || f.Permission > kmsg.ACLPermissionTypeAllow:
		return invalid("Unknown entryFilter.")
	}
	return nil
}

// Matches tells whether the filter finds a binding. The pattern MATCH finds what decides about the resource of that name:
// its literal bindings, those of its prefixes, and those of all resources.
func (f Filter) Matches(b Binding) bool {
	return (f.Resource == kmsg.ACLResourceTypeAny || f.Resource == b.Resource) &&
		f.matchesName(b) &&
		(f.Principal == nil || *f.Principal == b.Principal) &&
		(f.Host == nil || *f.Host == b.Host) &&
		(f.Operation == kmsg.ACLOperationAny || f.Operation == b.Operation) &&
		(f.Permission == kmsg.ACLPermissionTypeAny || f.Permission == b.Permission)
}

func (f Filter) matchesName(b Binding) bool {
	switch f.Pattern {
	case kmsg.ACLResourcePatternTypeAny:
	case kmsg.ACLResourcePatternTypeMatch:
		if f.Name == nil {
			return true
		}
		if b.Pattern == kmsg.ACLResourcePatternTypePrefixed {
			return strings.HasPrefix(*f.Name, b.Name)
		}
		return b.Name == *f.Name || b.Name == Wildcard
	default:
		if f.Pattern != b.Pattern {
			return false
		}
	}
	return f.Name == nil || *f.Name == b.Name
}
