package acl

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// shown are the fields of answers that are compared: codes, what may be done, and the names of what is listed. Ids, offsets, places
// and times are not about rights; texts differ by design (docs/compatibility.md).
var shown = map[string]bool{
	"ErrorCode": true, "ConfigErrorCode": true, "AcknowledgeErrorCode": true,
	"AuthorizedOperations": true, "ClusterAuthorizedOperations": true,
	"Topic": true, "TopicName": true, "Group": true, "GroupID": true, "TransactionalID": true, "User": true, "Name": true, "ResourceName": true,
	"IsInternal": true, "Principal": true, "Host": true, "Operation": true, "PermissionType": true, "ResourceType": true,
	"ResourcePatternType": true, "Partition": true, "State": true, "NumPartitions": true, "ReplicationFactor": true,
}

// digest is what an answer shows, as one text. Lists are sorted: most of Apache Kafka's come out of a hash table.
func digest(resp kmsg.Response, err error) string {
	if err != nil {
		return err.Error()
	}
	return walk(reflect.ValueOf(resp).Elem())
}

func walk(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Struct:
		var parts []string
		for i := range v.NumField() {
			f := v.Type().Field(i)
			value := v.Field(i)
			switch kind := value.Kind(); {
			case !f.IsExported() || f.Name == "UnknownTags" || hidden(f.Name):
			case kind == reflect.Slice && value.Type().Elem().Kind() == reflect.Struct, kind == reflect.Struct:
				if s := walk(value); s != "[]" && s != "{}" {
					parts = append(parts, f.Name+s)
				}
			case shown[f.Name]:
				parts = append(parts, fmt.Sprintf("%s=%s", f.Name, plain(value)))
			}
		}
		return "{" + strings.Join(parts, " ") + "}"
	case reflect.Slice:
		var parts []string
		for i := range v.Len() {
			parts = append(parts, walk(v.Index(i)))
		}
		slices.Sort(parts)
		return "[" + strings.Join(slices.Compact(parts), " ") + "]"
	default:
		return plain(v)
	}
}

// hidden are lists that are not about rights.
func hidden(name string) bool {
	switch name {
	case "Brokers", "Configs", "ActiveProducers", "NodeEndpoints", "CurrentLeader", "Cursor", "NextCursor", "Coordinators":
		return name != "Coordinators"
	default:
		return false
	}
}

func plain(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "null"
		}
		v = v.Elem()
	}
	return fmt.Sprint(v.Interface())
}
