package gateway

import (
	"reflect"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/secure/trail"
)

// touched is what a call has asked about, for the trail.
type touched struct {
	text strings.Builder
	many bool
}

// mostTouched bounds the text.
const mostTouched = 512

func (t *touched) add(resource kmsg.ACLResourceType, name string) {
	if t.many {
		return
	}
	if t.text.Len()+len(name) > mostTouched {
		t.many = true
		t.text.WriteString(",…")
		return
	}
	if t.text.Len() > 0 {
		t.text.WriteByte(',')
	}
	t.text.WriteString(strings.ToLower(resource.String()))
	t.text.WriteByte('/')
	t.text.WriteString(name)
}

// record writes down an administrative call and how it ended. Nothing of the request itself goes there, which may hold secrets, only what
// it was about.
func (c *call) record(resp kmsg.Response) {
	if !c.e.changes {
		return
	}
	e := trail.Event{
		Time: c.g.world.Clock.Now(), Kind: trail.Admin, Action: "kafka:" + kmsg.NameForKey(c.key), Outcome: trail.Accepted,
		Principal: c.who.Who.Principal, Mechanism: string(c.who.Who.Mechanism), From: c.s.ip.String(), Listener: c.s.f.Name,
		ClientID: c.r.Header.ClientID, Cluster: c.g.cfg.Cluster, Resource: c.touched.text.String(),
	}
	if iam := c.who.Who.IAM; iam != nil {
		e.AccessKey = iam.AccessKey
	}
	if code := firstCode(reflect.ValueOf(resp).Elem()); code != kerr.None {
		e.Outcome, e.Reason = trail.Failed, code.Name()
		switch code {
		case kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed:
			e.Outcome = trail.Refused
		}
	}
	c.g.world.Trail.Record(e)
}

// firstCode returns the first error code in an answer.
func firstCode(v reflect.Value) kerr.Code {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name == "ErrorCode" {
				if code := kerr.Code(v.Field(i).Int()); code != kerr.None {
					return code
				}
				continue
			}
			if code := firstCode(v.Field(i)); code != kerr.None {
				return code
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Struct {
			return kerr.None
		}
		for i := range v.Len() {
			if code := firstCode(v.Index(i)); code != kerr.None {
				return code
			}
		}
	}
	return kerr.None
}
