package gateway

import (
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// topError answers with a code at the top of the response, and nothing else.
func topError(req kmsg.Request, code kerr.Code) verdict {
	resp := kmsg.ResponseForKey(req.Key())
	resp.SetVersion(req.GetVersion())
	v := reflect.ValueOf(resp).Elem()
	v.FieldByName("ErrorCode").SetInt(int64(code))
	if m := v.FieldByName("ErrorMessage"); m.IsValid() {
		m.Set(reflect.ValueOf(text(code)))
	}
	return verdict{answer: resp}
}

// mirrored answers with a code for everything that the request names.
func mirrored(req kmsg.Request, code kerr.Code) verdict {
	resp := kmsg.ResponseForKey(req.Key())
	resp.SetVersion(req.GetVersion())
	mirror(reflect.ValueOf(req).Elem(), reflect.ValueOf(resp).Elem(), code)
	return verdict{answer: resp}
}

// mirrorOf returns the part of a response that says code for each thing that a part of a request names: a topic of the one has the name
// and the partitions of the other.
func mirrorOf[R, Q any](part *Q, code kerr.Code) R {
	var out R
	mirror(reflect.ValueOf(part).Elem(), reflect.ValueOf(&out).Elem(), code)
	return out
}

// mirror fills the struct dst with what it has in common with the struct src, and with code. Requests and responses of a key name the same
// things alike; a list of numbers or names in the request is a list of structs, which begin with them, in the response.
func mirror(src, dst reflect.Value, code kerr.Code) {
	defaults(dst)
	for i := range dst.NumField() {
		field := dst.Type().Field(i)
		to := dst.Field(i)
		switch field.Name {
		case "ErrorCode":
			to.SetInt(int64(code))
			continue
		case "ErrorMessage":
			to.Set(reflect.ValueOf(text(code)))
			continue
		case "UnknownTags", "Version":
			continue
		}
		from := src.FieldByName(field.Name)
		if !from.IsValid() {
			continue
		}
		switch {
		case from.Type() == to.Type():
			to.Set(from)
		case from.Kind() == reflect.Slice && to.Kind() == reflect.Slice:
			mirrorSlice(from, to, code)
		case from.Kind() == reflect.String && to.Kind() == reflect.Pointer:
			s := from.String()
			to.Set(reflect.ValueOf(&s))
		}
	}
}

func mirrorSlice(from, to reflect.Value, code kerr.Code) {
	if to.Type().Elem().Kind() != reflect.Struct {
		return
	}
	out := reflect.MakeSlice(to.Type(), from.Len(), from.Len())
	for i := range from.Len() {
		if from.Index(i).Kind() == reflect.Struct {
			mirror(from.Index(i), out.Index(i), code)
			continue
		}
		mirror(reflect.ValueOf(struct{}{}), out.Index(i), code)
		for j := range out.Index(i).NumField() {
			if f := out.Index(i).Field(j); f.Type() == from.Index(i).Type() && out.Index(i).Type().Field(j).Name != "ErrorCode" {
				f.Set(from.Index(i))
				break
			}
		}
	}
	to.Set(out)
}

func defaults(v reflect.Value) {
	if d, ok := v.Addr().Interface().(interface{ Default() }); ok {
		d.Default()
	}
}

// text is what goes into an error message: Kafka's own words for refusals.
func text(code kerr.Code) *string {
	s := code.Message()
	switch code {
	case kerr.TopicAuthorizationFailed:
		s = "Topic authorization failed."
	case kerr.GroupAuthorizationFailed:
		s = "Group authorization failed."
	case kerr.ClusterAuthorizationFailed:
		s = "Cluster authorization failed."
	case kerr.TransactionalIDAuthorizationFailed:
		s = "Transactional Id authorization failed."
	case kerr.UnknownTopicID:
		s = "This server does not host this topic ID."
	}
	return &s
}

// split sorts a list into what may pass and what may not, in order.
func split[T any](all []T, ok func(*T) bool) (kept, refused []T) {
	kept = make([]T, 0, len(all))
	for i := range all {
		if ok(&all[i]) {
			kept = append(kept, all[i])
		} else {
			refused = append(refused, all[i])
		}
	}
	return kept, refused
}
