package api

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/codes"
	"millrace/express/api/told"
	"millrace/kafka/kerr"
	"millrace/secure/trail"
)

// change is what an administrative request did to one resource, or tried to. before and after are what of it changed, as JSON shows
// them; they hold no secret.
type change struct {
	resource      string // "topic/orders"
	before, after any    // nil: nothing
	err           error  // nil: done
}

// recordAdmin writes a change down. Those that were refused for want of a permission are in the trail as refusals already; what is
// only to be validated is no change.
func (a *API) recordAdmin(c caller, ch change) {
	e := trail.Event{
		Time: a.world.Clock.Now(), Kind: trail.Admin, Action: "kafka:" + kmsg.NameForKey(c.key), Outcome: trail.Accepted,
		Listener: c.conn.Listener(), ClientID: c.clientID,
		Cluster: a.catalog.ClusterID(), Resource: ch.resource, Before: told.JSON(ch.before), After: told.JSON(ch.after),
	}
	if c.who != nil {
		e.Principal, e.Mechanism = c.who.Principal, string(c.who.Mechanism)
		if c.who.IAM != nil {
			e.AccessKey = c.who.IAM.AccessKey
		}
	}
	if c.address.IsValid() {
		e.From = c.address.String()
	}
	if ch.err != nil {
		code := codes.Of(a.log, ch.err)
		switch code {
		case kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed:
			return
		case kerr.RequestTimedOut, kerr.UnknownServerError, kerr.KafkaStorageError, kerr.NotCoordinator, kerr.CoordinatorNotAvailable:
			e.Outcome = trail.Failed
		default:
			e.Outcome = trail.Refused
		}
		e.After, e.Reason = nil, clip(ch.err.Error())
		if !strings.HasPrefix(e.Reason, code.Name()) {
			e.Reason = code.Name() + ": " + e.Reason
		}
	}
	a.world.Trail.Record(e)
}

// codeError is the error of a response's code.
func codeError(code int16) error {
	if code == 0 {
		return nil
	}
	return kerr.Code(code)
}

// adminConfigs is a change of a resource's configuration, as far as its name; without a name for what has no configuration, which
// anybody can ask for.
func adminConfigs(key resourceKey) change {
	var kind string
	switch key.kind {
	case kmsg.ConfigResourceTypeTopic:
		kind = "topic"
	case kmsg.ConfigResourceTypeBroker:
		kind = "broker"
	case kmsg.ConfigResourceTypeGroupConfig:
		kind = "group"
	case kmsg.ConfigResourceTypeClientMetrics:
		kind = "client-metrics"
	default:
		return change{}
	}
	return change{resource: kind + "/" + clip(key.name)}
}
