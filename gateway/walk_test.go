package gateway

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/secure/authz"
)

// filled returns a message of a key and version with something in every field: name in each string, id in each topic id.
func fill(v reflect.Value, name string, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		if depth < 14 {
			x := reflect.New(v.Type().Elem())
			fill(x.Elem(), name, depth+1)
			v.Set(x)
		}
	case reflect.Struct:
		if d, ok := v.Addr().Interface().(interface{ Default() }); ok {
			d.Default()
		}
		for i := range v.NumField() {
			switch f := v.Type().Field(i); f.Name {
			case "Version", "UnknownTags", "ErrorCode", "ThrottleMillis", "ReplicaID", "ReplicaState", "EndpointType", "CoordinatorType":
			default:
				fill(v.Field(i), name, depth+1)
			}
		}
	case reflect.Slice:
		if depth >= 14 {
			return
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte("records"))
			return
		}
		s := reflect.MakeSlice(v.Type(), 1, 1)
		fill(s.Index(0), name, depth+1)
		v.Set(s)
	case reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			reflect.Copy(v, reflect.ValueOf([]byte(secretID[:])))
		}
	case reflect.String:
		v.SetString(name)
	case reflect.Bool:
		v.SetBool(true)
	}
}

var secretID = [16]byte([]byte("0123456789abcdef"))

// eachKey calls f for every key and version that passes by a rule.
func eachKey(t *testing.T, f func(t *testing.T, key, version int16)) {
	for key, e := range newTable() {
		if e.own != nil {
			continue
		}
		for version := e.min; version <= e.max; version++ {
			t.Run(fmt.Sprintf("%s-%d", kmsg.NameForKey(key), version), func(t *testing.T) { f(t, key, version) })
		}
	}
}

// TestNothingPassesUnauthorized sends every key in every version, with something in every field, as somebody who may do nothing (GW1).
// What the broker gets then names nothing.
func TestNothingPassesUnauthorized(t *testing.T) {
	b := newBroker(t, func(_ net.Conn, a asked) kmsg.Response {
		resp := kmsg.ResponseForKey(a.header.Key)
		return resp
	})
	b.names[secretID] = "secret"
	f := open(t, b, nil)
	f.judge.set(func(authz.Access) bool { return false })
	p := f.dial()
	eachKey(t, func(t *testing.T, key, version int16) {
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		fill(reflect.ValueOf(req).Elem(), "secret", 0)
		if d, ok := req.(*kmsg.ProduceRequest); ok {
			d.Acks = -1
		}
		before := len(b.requests())
		p.t = t
		p.send(req)
		_, body, err := p.next(req)
		if err != nil {
			t.Fatal(err)
		}
		resp := kmsg.ResponseForKey(key)
		resp.SetVersion(version)
		if err := resp.ReadFrom(body); err != nil {
			t.Fatalf("the answer cannot be read: %v", err)
		}
		for _, a := range b.requests()[before:] {
			passesFreely := map[kmsg.Key]bool{
				kmsg.Metadata: true, kmsg.DescribeCluster: true, kmsg.ListGroups: true, kmsg.ListTransactions: true,
				kmsg.GetTelemetrySubscriptions: true, kmsg.PushTelemetry: true,
			}
			if !passesFreely[kmsg.Key(a.header.Key)] {
				t.Errorf("the broker got %s", kmsg.NameForKey(a.header.Key))
			}
			if key == int16(kmsg.Metadata) && (bytes.Contains(a.body, []byte("secret")) || bytes.Contains(a.body, secretID[:])) {
				t.Errorf("the broker got %q", a.body)
			}
		}
	})
}

// TestAddressesStayHidden has the broker answer with something in every field, as to somebody who may do everything: no answer holds a host
// of the cluster (GW2).
func TestAddressesStayHidden(t *testing.T) {
	const host = "inside.example"
	b := newBroker(t, func(_ net.Conn, a asked) kmsg.Response {
		resp := kmsg.ResponseForKey(a.header.Key)
		resp.SetVersion(a.header.Version)
		fill(reflect.ValueOf(resp).Elem(), "open", 0)
		setHosts(reflect.ValueOf(resp).Elem(), host)
		return resp
	})
	b.names[secretID] = "open"
	f := open(t, b, func(_ *Config, w *World) {
		w.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, b.address())
		}
	})
	eachKey(t, func(t *testing.T, key, version int16) {
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		fill(reflect.ValueOf(req).Elem(), "open", 0)
		if d, ok := req.(*kmsg.ProduceRequest); ok {
			d.Acks = -1
		}
		p := f.dial()
		p.t = t
		p.send(req)
		_, body, err := p.next(req)
		if err != nil {
			t.Fatalf("%v\n%s", err, f.log)
		}
		if bytes.Contains(body, []byte(host)) {
			t.Errorf("the answer holds %s: %q", host, body)
		}
	})
}

// setHosts puts host into each field that says where a broker is.
func setHosts(v reflect.Value, host string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			setHosts(v.Elem(), host)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			switch v.Type().Field(i).Name {
			case "Host":
				if !v.FieldByName("Port").IsValid() {
					continue // of an ACL
				}
				v.Field(i).SetString(host)
			case "Port":
				if v.Field(i).CanInt() {
					v.Field(i).SetInt(9092)
				}
			case "NodeID":
				v.Field(i).SetInt(1)
			default:
				setHosts(v.Field(i), host)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if v.Type().Elem().Kind() == reflect.Struct {
				setHosts(v.Index(i), host)
			}
		}
	}
}

// TestListsHideWhatMayNotBeSeen has the broker tell of something that the caller may not describe in every answer that lists (GW2).
func TestListsHideWhatMayNotBeSeen(t *testing.T) {
	b := newBroker(t, func(_ net.Conn, a asked) kmsg.Response {
		resp := kmsg.ResponseForKey(a.header.Key)
		resp.SetVersion(a.header.Version)
		fill(reflect.ValueOf(resp).Elem(), "secret", 0)
		switch r := resp.(type) {
		case *kmsg.OffsetFetchResponse:
			for i := range r.Groups {
				r.Groups[i].Group = "open"
			}
		case *kmsg.ListTransactionsResponse:
			r.UnknownStateFilters = nil
		case *kmsg.DescribeTransactionsResponse:
			r.TransactionStates[0].TransactionalID, r.TransactionStates[0].State = "open", "open"
		case *kmsg.DescribeShareGroupOffsetsResponse:
			r.Groups[0].GroupID, r.Groups[0].ErrorMessage = "open", nil
			r.Groups[0].Topics[0].TopicID = [16]byte{}
		case *kmsg.ConsumerGroupDescribeResponse:
			r.Groups[0] = kmsg.ConsumerGroupDescribeResponseGroup{Group: "open", Members: r.Groups[0].Members}
			r.Groups[0].Members[0].TargetAssignment = kmsg.Assignment{}
		case *kmsg.ShareGroupDescribeResponse:
			r.Groups[0] = kmsg.ShareGroupDescribeResponseGroup{GroupID: "open", Members: r.Groups[0].Members}
		case *kmsg.MetadataResponse:
			r.ClusterID = nil
			for i := range r.Brokers {
				r.Brokers[i].Rack = nil
			}
		}
		return resp
	})
	b.names[secretID] = "secret"
	f := open(t, b, nil)
	f.judge.set(func(a authz.Access) bool {
		return a.Name != "secret" && (a.Resource != kmsg.ACLResourceTypeCluster)
	})
	p := f.dial()
	reqs := []kmsg.Request{
		kmsg.NewPtrMetadataRequest(), kmsg.NewPtrListGroupsRequest(), kmsg.NewPtrListTransactionsRequest(), kmsg.NewPtrOffsetFetchRequest(),
		kmsg.NewPtrDescribeTransactionsRequest(), kmsg.NewPtrConsumerGroupDescribeRequest(), kmsg.NewPtrShareGroupDescribeRequest(),
		kmsg.NewPtrDescribeShareGroupOffsetsRequest(),
	}
	for _, req := range reqs {
		e := newTable()[req.Key()]
		for version := e.min; version <= e.max; version++ {
			if req.Key() == int16(kmsg.OffsetFetch) && version < 2 {
				continue // there it cannot ask for all topics
			}
			t.Run(fmt.Sprintf("%s-%d", kmsg.NameForKey(req.Key()), version), func(t *testing.T) {
				req.SetVersion(version)
				fill(reflect.ValueOf(req).Elem(), "open", 0)
				switch r := req.(type) {
				case *kmsg.MetadataRequest:
					r.Topics = nil
				case *kmsg.OffsetFetchRequest:
					r.Topics = nil
					r.Groups[0].Topics = nil
				case *kmsg.DescribeShareGroupOffsetsRequest:
					r.Groups[0].Topics = nil
				}
				p.t = t
				p.send(req)
				_, body, err := p.next(req)
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Contains(body, []byte("secret")) || bytes.Contains(body, secretID[:]) {
					t.Errorf("the answer tells: %q", body)
				}
			})
		}
	}
}

// TestBeforeLogin: nothing but ApiVersions is answered before the login, and nothing goes to a broker.
func TestBeforeLogin(t *testing.T) {
	b := newBroker(t, func(_ net.Conn, a asked) kmsg.Response { return kmsg.ResponseForKey(a.header.Key) })
	f := open(t, b, func(_ *Config, w *World) { w.Connect = notYet })
	for key, e := range newTable() {
		p := f.dial()
		req := kmsg.RequestForKey(key)
		req.SetVersion(e.max)
		if v, ok := req.(*kmsg.ApiVersionsRequest); ok {
			v.ClientSoftwareName, v.ClientSoftwareVersion = "x", "1"
			if resp := ask[*kmsg.ApiVersionsResponse](p, req); len(resp.ApiKeys) < 40 {
				t.Errorf("%d keys", len(resp.ApiKeys))
			}
			continue
		}
		p.send(req)
		p.ended()
	}
	if got := b.requests(); len(got) != 0 {
		t.Errorf("the broker got %d requests", len(got))
	}
}

// TestVersionTooNew: a client that asks ApiVersions in a version that is not served is told which are, and nothing else, as by Apache Kafka. With
// all keys there it would ask no more, and never hear of the features of the cluster: no transactions of version 2.
func TestVersionTooNew(t *testing.T) {
	b := newBroker(t, func(_ net.Conn, a asked) kmsg.Response { return kmsg.ResponseForKey(a.header.Key) })
	p := open(t, b, nil).dial()
	e := newTable()[int16(kmsg.ApiVersions)]
	p.sendBody(int16(kmsg.ApiVersions), e.max+1, []byte("whatever that is"))
	frame, err := readFrame(p.r)
	if err != nil {
		t.Fatal(err)
	}
	resp := kmsg.NewPtrApiVersionsResponse()
	if err := resp.ReadFrom(frame[4:]); err != nil {
		t.Fatal(err)
	}
	if k := resp.ApiKeys; resp.ErrorCode != int16(kerr.UnsupportedVersion) || len(k) != 1 || k[0].ApiKey != int16(kmsg.ApiVersions) || k[0].MaxVersion != e.max {
		t.Errorf("%+v", resp)
	}
}

// TestTransactionsOfBrokers: AddPartitionsToTxn from version 4 on needs CLUSTER_ACTION; who may write to everything may not send it.
func TestTransactionsOfBrokers(t *testing.T) {
	b := newBroker(t, func(_ net.Conn, a asked) kmsg.Response { return kmsg.ResponseForKey(a.header.Key) })
	f := open(t, b, nil)
	p := f.dial()
	for version := int16(0); version <= 5; version++ {
		for _, refused := range []bool{false, true} {
			f.judge.set(func(a authz.Access) bool { return !refused || a.Resource != kmsg.ACLResourceTypeCluster })
			req := kmsg.NewPtrAddPartitionsToTxnRequest()
			req.Version, req.TransactionalID = version, "tx"
			req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: "open", Partitions: []int32{0}}}
			req.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{{TransactionalID: "tx"}}
			before := len(b.requests())
			resp, want := ask[*kmsg.AddPartitionsToTxnResponse](p, req), kerr.None
			if refused && version >= 4 {
				want = kerr.ClusterAuthorizationFailed
			}
			passed := len(b.requests()) > before
			if resp.ErrorCode != int16(want) || passed != (want == kerr.None) {
				t.Errorf("version %d, CLUSTER_ACTION refused: %v: code %d, passed on: %v", version, refused, resp.ErrorCode, passed)
			}
		}
	}
}

// TestKeysOfBrokersAreRefused: what is not in the table closes the connection.
func TestKeysOfBrokersAreRefused(t *testing.T) {
	b := newBroker(t, func(_ net.Conn, a asked) kmsg.Response { return kmsg.ResponseForKey(a.header.Key) })
	f := open(t, b, nil)
	table := newTable()
	for key := range int16(kmsg.MaxKey) {
		if _, ok := table[key]; ok || kmsg.RequestForKey(key) == nil {
			continue
		}
		p := f.dial()
		p.send(kmsg.RequestForKey(key))
		p.ended()
	}
	if got := b.requests(); len(got) != 0 {
		t.Errorf("the broker got %d requests, of key %d", len(got), got[0].header.Key)
	}
	if strings.Contains(f.log.String(), "panic") {
		t.Error(f.log)
	}
}
