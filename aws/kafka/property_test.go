package kafka_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace/aws/kafka/kafkatest"
	"millrace/control"
)

// object is JSON as a test makes it.
type object = map[string]any

func text(t *rapid.T, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// maybe puts a value into an object, or leaves it out.
func maybe[T any](t *rapid.T, in object, name string, g *rapid.Generator[T]) {
	if rapid.Bool().Draw(t, "with "+name) {
		in[name] = g.Draw(t, name)
	}
}

// flagOf is {"enabled": …}, or {} or nothing of the sort.
func flagOf() *rapid.Generator[object] {
	return rapid.Custom(func(t *rapid.T) object {
		o := object{}
		maybe(t, o, "enabled", rapid.Bool())
		return o
	})
}

// anyAuthentication is any clientAuthentication.
func anyAuthentication() *rapid.Generator[object] {
	return rapid.Custom(func(t *rapid.T) object {
		o, s, tls := object{}, object{}, object{}
		maybe(t, s, "scram", flagOf())
		maybe(t, s, "iam", flagOf())
		maybe(t, tls, "enabled", rapid.Bool())
		maybe(t, tls, "certificateAuthorityArnList", rapid.SliceOfNDistinct(rapid.StringMatching(`ca[0-9]`), 0, 2, rapid.ID))
		maybe(t, o, "sasl", rapid.Just(s))
		maybe(t, o, "tls", rapid.Just(tls))
		maybe(t, o, "unauthenticated", flagOf())
		return o
	})
}

func anyEncryption() *rapid.Generator[object] {
	return rapid.Custom(func(t *rapid.T) object {
		o, in := object{}, object{}
		maybe(t, in, "clientBroker", rapid.SampledFrom([]string{"TLS", "TLS_PLAINTEXT", "PLAINTEXT"}))
		maybe(t, in, "inCluster", rapid.Bool())
		maybe(t, o, "encryptionInTransit", rapid.Just(in))
		return o
	})
}

// anyProvisioned is what a cluster may be made of; not all of it is possible.
func anyProvisioned() *rapid.Generator[object] {
	return rapid.Custom(func(t *rapid.T) object {
		subnets := rapid.SliceOfNDistinct(rapid.StringMatching(`subnet-[a-f]`), 1, 3, rapid.ID).Draw(t, "subnets")
		group := object{"clientSubnets": subnets, "instanceType": rapid.SampledFrom([]string{"express.m7g.large", "express.m7g.xlarge"}).Draw(t, "type")}
		maybe(t, group, "securityGroups", rapid.SliceOfNDistinct(rapid.StringMatching(`sg-[a-f]`), 1, 3, rapid.ID))
		maybe(t, group, "zoneIds", rapid.SliceOfNDistinct(rapid.StringMatching(`az[a-f]`), 1, 3, rapid.ID))
		maybe(t, group, "connectivityInfo", rapid.Just(object{"networkType": rapid.SampledFrom([]string{"IPV4", "DUAL"}).Draw(t, "network")}))
		o := object{
			"brokerNodeGroupInfo": group, "numberOfBrokerNodes": len(subnets) * rapid.IntRange(1, 3).Draw(t, "brokers"),
			"kafkaVersion": rapid.SampledFrom([]string{"3.6.0", "3.8.x", "3.9.x"}).Draw(t, "version"),
		}
		maybe(t, o, "enhancedMonitoring", rapid.SampledFrom([]string{"DEFAULT", "PER_BROKER", "PER_TOPIC_PER_BROKER", "PER_TOPIC_PER_PARTITION"}))
		maybe(t, o, "clientAuthentication", anyAuthentication())
		maybe(t, o, "encryptionInfo", anyEncryption())
		maybe(t, o, "rebalancing", rapid.Just(object{"status": rapid.SampledFrom([]string{"ACTIVE", "PAUSED"}).Draw(t, "rebalancing")}))
		maybe(t, o, "openMonitoring", rapid.Just(object{"prometheus": object{"jmxExporter": object{"enabledInBroker": rapid.Bool().Draw(t, "jmx")}}}))
		maybe(t, o, "loggingInfo", rapid.Just(object{"brokerLogs": object{
			"s3": object{"enabled": true, "bucket": "<b&>", "prefix": rapid.String().Draw(t, "prefix")}, "firehose": object{"enabled": false},
		}}))
		return o
	})
}

// ask calls an operation and reads the answer.
func ask(t *rapid.T, w *kafkatest.World, operation, cluster string, body any) (int, object) {
	a := kafkatest.Ask{Operation: operation, Params: map[string]string{"clusterArn": cluster}}
	if body != nil {
		a.Body = text(t, body)
	}
	status, answer, err := w.Call(context.Background(), a)
	if err != nil {
		t.Fatal(err)
	}
	var got object
	if err := json.Unmarshal(answer, &got); err != nil {
		t.Fatal(err)
	}
	return status, got
}

// make1 makes the cluster "one" of any Settings that are possible, ACTIVE; the test is passed over where they are not.
func make1(t *rapid.T, w *kafkatest.World) (arn string, asked object) {
	asked = anyProvisioned().Draw(t, "provisioned")
	status, got := ask(t, w, "CreateClusterV2", "", object{"clusterName": "one", "provisioned": asked})
	if status != http.StatusOK {
		if w.Changes() != 0 {
			t.Fatal("refused, and something is there")
		}
		t.Skip("not possible")
	}
	w.Plane.Activate("one")
	return got["clusterArn"].(string), asked
}

// TestShownIsAsked: what the API shows of a cluster makes the same one, and is no change to this one (K4).
func TestShownIsAsked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := kafkatest.New()
		arn, _ := make1(t, w)
		_, described := ask(t, w, "DescribeClusterV2", arn, nil)
		shown := described["clusterInfo"].(object)["provisioned"].(object)
		again := object{}
		for name, value := range shown {
			if name != "currentBrokerSoftwareInfo" && name != "customerActionStatus" {
				again[name] = value
			}
		}
		again["kafkaVersion"] = shown["currentBrokerSoftwareInfo"].(object)["kafkaVersion"]
		if status, got := ask(t, w, "CreateClusterV2", "", object{"clusterName": "two", "provisioned": again}); status != http.StatusOK {
			t.Fatalf("what is shown is refused: %v", got)
		}
		one, two := w.Plane.All["one"].Settings, w.Plane.All["two"].Settings
		if !reflect.DeepEqual(one, two) {
			t.Fatalf("shown and asked again, it is\n%+v\nafter\n%+v", two, one)
		}
		group := shown["brokerNodeGroupInfo"].(object)
		for operation, body := range map[string]object{
			"UpdateSecurity":     {"clientAuthentication": shown["clientAuthentication"], "encryptionInfo": shown["encryptionInfo"]},
			"UpdateConnectivity": {"connectivityInfo": group["connectivityInfo"]},
			"UpdateRebalancing":  {"rebalancing": shown["rebalancing"]},
			"UpdateBrokerType":   {"targetInstanceType": group["instanceType"]},
			"UpdateBrokerCount":  {"targetNumberOfBrokerNodes": shown["numberOfBrokerNodes"]},
			"UpdateMonitoring": {
				"enhancedMonitoring": shown["enhancedMonitoring"], "openMonitoring": shown["openMonitoring"], "loggingInfo": shown["loggingInfo"],
			},
		} {
			body["currentVersion"] = control.CurrentVersion(w.Plane.All["one"])
			status, got := ask(t, w, operation, arn, body)
			if words, _ := got["message"].(string); status != http.StatusBadRequest || !strings.Contains(words, "does not include any updates") {
				t.Fatalf("%s with what is shown is %d %v", operation, status, got)
			}
		}
	})
}

// switchOf reads {"sasl": {"iam": {"enabled": true}}} and the like; nil: it is not said.
func switchOf(in any, path ...string) *bool {
	for _, name := range path {
		o, ok := in.(object)
		if !ok {
			return nil
		}
		in = o[name]
	}
	b, ok := in.(bool)
	if !ok {
		return nil
	}
	return &b
}

func said(b *bool, otherwise bool) bool {
	if b == nil {
		return otherwise
	}
	return *b
}

// TestWaysIn: a cluster has the logins that were asked for, and no others: none without a login but by unauthenticated, none without TLS
// but by clientBroker (K5). It is written down here as MSK's documentation says it, once more.
func TestWaysIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := kafkatest.New()
		_, asked := make1(t, w)
		a, e := asked["clientAuthentication"], asked["encryptionInfo"]
		iam, scram := said(switchOf(a, "sasl", "iam", "enabled"), false), said(switchOf(a, "sasl", "scram", "enabled"), false)
		authorities := 0
		if o, ok := a.(object); ok {
			if tls, ok := o["tls"].(object); ok {
				if list, ok := tls["certificateAuthorityArnList"].([]string); ok {
					authorities = len(list)
				}
			}
		}
		mtls := said(switchOf(a, "tls", "enabled"), authorities > 0)
		anonymous := said(switchOf(a, "unauthenticated", "enabled"), !iam && !scram && !mtls)
		transit := "TLS"
		if anonymous {
			transit = "TLS_PLAINTEXT"
		}
		if o, ok := e.(object); ok {
			if in, ok := o["encryptionInTransit"].(object); ok && in["clientBroker"] != nil {
				transit = in["clientBroker"].(string)
			}
		}
		want := map[string]bool{
			control.LoginPlaintext: anonymous && transit != "TLS", control.LoginTLS: anonymous && transit != "PLAINTEXT",
			control.LoginMTLS: mtls, control.LoginScram: scram, control.LoginIAM: iam,
		}
		have := w.Plane.All["one"].Settings
		auth := strings.Split(have.Auth, ",")
		for login, there := range want {
			if slices.Contains(auth, login) != there {
				t.Fatalf("logins %q, %s should be %v: %v %v", have.Auth, login, there, a, e)
			}
		}
		if canonical, err := control.ParseAuth(have.Auth); err != nil || canonical != have.Auth {
			t.Fatalf("logins %q: %v", have.Auth, err)
		}
		if (iam || scram || mtls) && (transit == "PLAINTEXT" || !have.InCluster || transit == "TLS_PLAINTEXT" && !anonymous) {
			t.Fatalf("MSK refuses logins with %s, in cluster %v", transit, have.InCluster)
		}
	})
}

// TestUpdateIsOfItsVersion: an update is made of the Settings that the named version has, whatever comes between (K3).
func TestUpdateIsOfItsVersion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := kafkatest.New()
		arn, _ := make1(t, w)
		known := control.CurrentVersion(w.Plane.All["one"])
		between := rapid.SampledFrom([]string{"", "Cluster", "Begin"}).Draw(t, "another update comes before")
		changed := false
		w.Plane.Fail = func(method string) error {
			if method == between && !changed {
				changed = true
				c := w.Plane.All["one"]
				c.Settings.Paused, c.Version = !c.Settings.Paused, c.Version+1
				w.Plane.All["one"] = c
			}
			return nil
		}
		before := w.Plane.All["one"].Settings
		target := "express.m7g.2xlarge"
		status, got := ask(t, w, "UpdateBrokerType", arn, object{"currentVersion": known, "targetInstanceType": target})
		if changed {
			if words, _ := got["message"].(string); status != http.StatusBadRequest || !strings.Contains(words, "isn't current") || len(w.Plane.Done["one"]) != 0 {
				t.Fatalf("an update of an old version is %d %v", status, got)
			}
			return
		}
		want := before
		want.BrokerType = target
		if status != http.StatusOK || !reflect.DeepEqual(*w.Plane.Done["one"][0].After, want) {
			t.Fatalf("the update is %d %v: %+v", status, got, w.Plane.Done["one"])
		}
	})
}

// TestNamelessMeansNow: who deletes or reboots without a version means the cluster as it is, and never one that got its name meanwhile.
func TestNamelessMeansNow(t *testing.T) {
	for _, a := range []kafkatest.Ask{orders("DeleteCluster", ""), orders("RebootBroker", `{"brokerIds":["1"]}`)} {
		for _, replaced := range []bool{false, true} {
			w := at(t, "UpdateBrokerCount")
			calls := 0
			w.Plane.Fail = func(method string) error {
				if method != "Delete" && method != "Begin" {
					return nil
				}
				if calls++; calls == 1 {
					c := w.Plane.All[kafkatest.Orders]
					c.Version++
					if replaced {
						c.ID = kafkatest.ID(50)
					}
					w.Plane.All[kafkatest.Orders] = c
				}
				return nil
			}
			before := w.Changes()
			status, answer, err := w.Call(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case replaced && (status != http.StatusNotFound || w.Changes() != before):
				t.Errorf("%s of a cluster that is gone: %d %s", a.Operation, status, answer)
			case !replaced && (status != http.StatusOK || calls != 2 || w.Changes() != before+1):
				t.Errorf("%s beside an update: %d %s, %d calls", a.Operation, status, answer, calls)
			}
		}
	}
}

// TestBootstrapNamesAll: every broker is in each string, by its number, and strings are what the listeners are (K6).
func TestBootstrapNamesAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := kafkatest.New()
		arn, _ := make1(t, w)
		set := w.Plane.All["one"].Settings
		_, got := ask(t, w, "GetBootstrapBrokers", arn, nil)
		ports := map[string]int{"": 0, "Tls": 2, "SaslScram": 4, "SaslIam": 6}
		logins := map[string]string{"": "plaintext", "Tls": "tls|mtls", "SaslScram": "scram", "SaslIam": "iam"}
		for word, step := range ports {
			var want []string
			for id := range set.Brokers {
				want = append(want, fmt.Sprintf("127.0.0.1:%d", 9092+100*id+step))
			}
			there := slices.ContainsFunc(strings.Split(set.Auth, ","), func(l string) bool { return slices.Contains(strings.Split(logins[word], "|"), l) })
			if text, _ := got["bootstrapBrokerString"+word].(string); there && text != strings.Join(want, ",") || !there && text != "" {
				t.Fatalf("bootstrapBrokerString%s is %q for %q", word, text, set.Auth)
			}
		}
	})
}
