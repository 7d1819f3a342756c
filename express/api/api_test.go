package api

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/codes"
	"millrace/express/api/features"
	"millrace/express/catalog"
	"millrace/express/partition"
	"millrace/express/producer"
	"millrace/express/settings"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/topic"
	"millrace/kafka/wire"
	"millrace/secure/authz"
)

func softwareRequest(name, version string) *kmsg.ApiVersionsRequest {
	q := kmsg.NewPtrApiVersionsRequest()
	q.ClientSoftwareName, q.ClientSoftwareVersion = name, version
	return q
}

// versions42 is the column 4.2 of the protocol survey for the keys that are served.
var versions42 = map[int16][2]int16{
	0: {0, 13}, 1: {4, 18}, 2: {1, 11}, 3: {0, 13}, 8: {2, 10}, 9: {1, 10}, 10: {0, 6}, 11: {0, 9}, 12: {0, 4}, 13: {0, 5},
	14: {0, 5}, 15: {0, 6}, 16: {0, 5}, 17: {0, 1}, 18: {0, 4}, 19: {2, 7}, 20: {1, 6}, 21: {0, 2}, 22: {0, 5}, 23: {2, 4}, 32: {1, 4},
	24: {0, 5}, 25: {0, 4}, 26: {0, 5}, 27: {1, 2}, 28: {0, 5}, 29: {1, 3}, 30: {1, 3}, 31: {1, 3}, 33: {0, 2}, 34: {1, 2}, 35: {1, 4}, 36: {0, 2}, 37: {0, 3}, 42: {0, 2},
	43: {0, 2}, 44: {0, 1}, 45: {0, 1}, 46: {0, 0}, 47: {0, 0}, 48: {0, 1}, 49: {0, 1}, 50: {0, 0}, 51: {0, 0}, 57: {0, 2}, 60: {0, 2}, 61: {0, 0},
	65: {0, 0}, 66: {0, 2}, 68: {0, 1}, 69: {0, 1}, 74: {0, 1}, 75: {0, 0},
	76: {1, 1}, 77: {1, 1}, 78: {1, 2}, 79: {1, 2}, 83: {0, 0}, 84: {0, 0}, 85: {0, 1}, 86: {0, 0}, 87: {0, 1}, 90: {0, 1}, 91: {0, 0}, 92: {0, 0},
}

func TestAdvertisedVersionsAreThoseOfKafka42(t *testing.T) {
	e := newEnv(t, options{})
	c := e.dial()
	for version := range int16(5) {
		resp := ask[*kmsg.ApiVersionsResponse](c, version, softwareRequest("apache-kafka-java", "4.2.0"))
		c.wantCode(resp.ErrorCode, kerr.None)
		got := make(map[int16][2]int16)
		for _, k := range resp.ApiKeys {
			got[k.ApiKey] = [2]int16{k.MinVersion, k.MaxVersion}
		}
		if len(got) != len(versions42) {
			t.Errorf("v%d: %d keys, want %d", version, len(got), len(versions42))
		}
		for key, want := range versions42 {
			if got[key] != want {
				t.Errorf("v%d: %s %v, want %v", version, kmsg.NameForKey(key), got[key], want)
			}
		}
	}
}

// A1: every version in the table can be decoded, and every answer encoded.
func TestEveryListedVersionIsAnswered(t *testing.T) {
	e := newEnv(t, options{})
	e.create("orders", 1, nil)
	c := e.dial()
	for key, entry := range e.api.table {
		for version := entry.min; version <= entry.max; version++ {
			q := kmsg.RequestForKey(key)
			if q.MaxVersion() < version {
				t.Fatalf("key %d: version %d is unknown to the codec", key, version)
			}
			q.SetVersion(version)
			if q, ok := q.(*kmsg.ApiVersionsRequest); ok {
				q.ClientSoftwareName, q.ClientSoftwareVersion = "a", "1"
			}
			if q, ok := q.(*kmsg.ProduceRequest); ok {
				q.Acks = 1
			}
			if q, ok := q.(*kmsg.DescribeACLsRequest); ok {
				q.ResourceType, q.ResourcePatternType, q.Operation, q.PermissionType = 1, 1, 1, 1
			}
			id := c.send(key, version, q.AppendTo(nil))
			receive[kmsg.Response](c, id, version, q)
		}
	}
}

// Gotcha 1: an unknown version of ApiVersions is answered in version 0, and the response header is version 0.
func TestGotcha01UnknownApiVersionsVersion(t *testing.T) {
	e := newEnv(t, options{})
	c := e.dial()
	for _, version := range []int16{5, 77, 32767, -1} {
		c.send(18, version, []byte{0xff, 0xff, 0xff})
		_, body, err := c.receive(18, version)
		must(t, err)
		resp := kmsg.NewPtrApiVersionsResponse()
		must(t, resp.ReadFrom(body))
		c.wantCode(resp.ErrorCode, kerr.UnsupportedVersion)
		if len(resp.ApiKeys) != 1 || resp.ApiKeys[0].ApiKey != 18 || resp.ApiKeys[0].MaxVersion != 4 {
			t.Errorf("v%d: %+v", version, resp.ApiKeys)
		}
	}
	// The connection goes on.
	c.wantCode(ask[*kmsg.ApiVersionsResponse](c, 4, softwareRequest("a", "1")).ErrorCode, kerr.None)
}

func TestGotcha01ClientSoftwareIsChecked(t *testing.T) {
	e := newEnv(t, options{})
	c := e.dial()
	for name, ok := range map[string]bool{
		"librdkafka": true, "a": true, "a-b.c": true, "9": true, "": false, "-a": false, "a.": false, "a b": false, "é": false, "a_b": false,
	} {
		want := kerr.None
		if !ok {
			want = kerr.InvalidRequest
		}
		c.wantCode(ask[*kmsg.ApiVersionsResponse](c, 3, softwareRequest(name, "1")).ErrorCode, want)
		c.wantCode(ask[*kmsg.ApiVersionsResponse](c, 4, softwareRequest("x", name)).ErrorCode, want)
		if len(ask[*kmsg.ApiVersionsResponse](c, 2, softwareRequest(name, "1")).ApiKeys) == 0 {
			t.Errorf("v2 looked at the software name %q", name)
		}
	}
}

// Gotcha 2: any other unknown key or version closes the connection without an answer; so does a bad body.
func TestGotcha02UnsupportedVersionClosesTheConnection(t *testing.T) {
	e := newEnv(t, options{})
	for _, f := range []struct {
		key, version int16
		body         string
	}{
		{3, 14, ""}, {1, 3, ""}, {1, 19, ""}, {4, 0, ""}, {17, 2, ""}, {999, 0, ""}, {-1, 0, ""}, {19, 1, ""},
		{3, 1, "\x7f\xff\xff\xff"}, {19, 7, "\xff\xff"}, {1, 12, "short"}, {0, 9, "\x00\xff\xff"}, {11, 9, ""},
	} {
		c := e.dial()
		c.send(f.key, f.version, []byte(f.body))
		c.closed(f.key, f.version)
	}
	c := e.dial()
	c.wantCode(ask[*kmsg.ApiVersionsResponse](c, 0, softwareRequest("", "")).ErrorCode, kerr.None)
}

// Gotcha 4: that features are supported from 0 on is shown from version 4 on, what is finalized always; nothing
// is finalized that is not served.
func TestGotcha04FeaturesByVersion(t *testing.T) {
	e := newEnv(t, options{})
	list := []features.Feature{{Name: "metadata.version", Min: 7, Max: 29, Finalized: 29}, {Name: "group.version", Min: 0, Max: 1, Finalized: 1}}
	for version, want := range map[int16]int{3: 1, 4: 2} {
		resp := e.api.apiVersionsResponse(version, list)
		if len(resp.SupportedFeatures) != want || len(resp.FinalizedFeatures) != len(list) {
			t.Errorf("v%d: %+v, %+v", version, resp.SupportedFeatures, resp.FinalizedFeatures)
		}
	}
	for _, f := range features.All() {
		if f.Name == "streams.version" {
			t.Errorf("%s is listed and not served", f.Name)
		}
	}
}

// Gotcha 5: unknown tags are skipped at every level, the client id of the flexible header is a classic string,
// and OffsetDelete never became flexible.
func TestGotcha05UnknownTagsAreSkipped(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 1, nil)
	c := e.dial()
	tag := func(tags *kmsg.Tags) { tags.Set(1234, []byte("from the future")) }

	m := kmsg.NewPtrMetadataRequest()
	in := kmsg.NewMetadataRequestTopic()
	in.Topic = kmsg.StringPtr("orders")
	tag(&in.UnknownTags)
	m.Topics = append(m.Topics, in)
	tag(&m.UnknownTags)
	if resp := ask[*kmsg.MetadataResponse](c, 12, m); len(resp.Topics) != 1 || resp.Topics[0].ErrorCode != 0 {
		t.Errorf("%+v", resp.Topics)
	}

	q := produceRequest(tp, 0, batch(t, 1, record.Options{}))
	tag(&q.UnknownTags)
	tag(&q.Topics[0].UnknownTags)
	tag(&q.Topics[0].Partitions[0].UnknownTags)
	c.wantCode(ask[*kmsg.ProduceResponse](c, 12, q).Topics[0].Partitions[0].ErrorCode, kerr.None)

	f := fetchRequest(tp, 1, 0)
	tag(&f.UnknownTags)
	tag(&f.Topics[0].UnknownTags)
	tag(&f.Topics[0].Partitions[0].UnknownTags)
	if resp := ask[*kmsg.FetchResponse](c, 16, f); len(resp.Topics[0].Partitions[0].RecordBatches) == 0 {
		t.Errorf("%+v", resp.Topics)
	}
	if wire.IsFlexible(int16(kmsg.OffsetDelete), 0) {
		t.Error("OffsetDelete is taken for flexible")
	}
	ask[*kmsg.OffsetDeleteResponse](c, 0, &kmsg.OffsetDeleteRequest{Group: "g"})
}

// A3: every sentinel of the rooms has a code of its own choosing, also when wrapped.
func TestEverySentinelHasACode(t *testing.T) {
	counter := &logCounter{}
	log := slog.New(counter)
	sentinels := map[string]error{
		"partition.ErrNotOwner": partition.ErrNotOwner, "partition.ErrFencedEpoch": partition.ErrFencedEpoch,
		"partition.ErrUnknownEpoch": partition.ErrUnknownEpoch, "partition.ErrOffsetOutOfRange": partition.ErrOffsetOutOfRange,
		"partition.ErrStorage": partition.ErrStorage, "partition.ErrPolicy": partition.ErrPolicy, "partition.ErrGap": partition.ErrGap,
		"partition.ErrTransactionState": partition.ErrTransactionState, "partition.ErrCoordinatorFenced": partition.ErrCoordinatorFenced,
		"producer.ErrOutOfOrderSequence": producer.ErrOutOfOrderSequence, "producer.ErrInvalidEpoch": producer.ErrInvalidEpoch,
		"record.ErrTruncated": record.ErrTruncated, "record.ErrCorrupt": record.ErrCorrupt, "record.ErrMagic": record.ErrMagic,
		"record.ErrInvalid": record.ErrInvalid, "record.ErrNoKey": record.ErrNoKey, "record.ErrNotOne": record.ErrNotOne, "record.ErrTooLarge": record.ErrTooLarge,
		"record.ErrTimestamp": record.ErrTimestamp, "record.ErrCodec": record.ErrCodec, "record.ErrBomb": record.ErrBomb,
		"catalog.ErrTopicExists": catalog.ErrTopicExists, "catalog.ErrUnknownTopic": catalog.ErrUnknownTopic,
		"catalog.ErrInvalidPartitions": catalog.ErrInvalidPartitions, "catalog.ErrInvalidReplication": catalog.ErrInvalidReplication,
		"catalog.ErrInvalidAssignment": catalog.ErrInvalidAssignment, "catalog.ErrUnknownBroker": catalog.ErrUnknownBroker,
		"catalog.ErrUnavailable": catalog.ErrUnavailable, "catalog.ErrNewer": catalog.ErrNewer, "catalog.ErrFenced": catalog.ErrFenced,
		"settings.ErrInvalid": settings.ErrInvalid, "topic.ErrInvalidName": topic.ErrInvalidName,
	}
	for name, err := range sentinels {
		if code := codes.Of(log, fmt.Errorf("room: %w", err)); code == kerr.UnknownServerError || code == kerr.None {
			t.Errorf("%s has no code", name)
		}
	}
	// What never leaves a room through a call of api.
	inside := []string{"producer.ErrCorrupt", "producer.ErrNewer", "catalog.ErrNotReleased", "catalog.ErrNotOwner", "catalog.ErrLogKind", "catalog.ErrReplaced", "partition.ErrNotFrozen"}
	for _, room := range []string{"../partition", "../producer", "../../kafka/record", "../catalog", "../settings", "../../kafka/topic"} {
		for _, name := range exportedSentinels(t, room) {
			if sentinels[name] == nil && !slices.Contains(inside, name) {
				t.Errorf("%s is new and has no code here", name)
			}
		}
	}
	if n := counter.count("error without a code"); n > 0 {
		t.Errorf("%d sentinels were logged", n)
	}
	if code := codes.Of(log, errors.New("strange")); code != kerr.UnknownServerError || counter.count("error without a code") != 1 {
		t.Errorf("an unknown error: %s", code.Name())
	}
	if code := codes.Of(log, fmt.Errorf("x: %w", kerr.PolicyViolation)); code != kerr.PolicyViolation {
		t.Errorf("a code in an error: %s", code.Name())
	}
	if code := codes.Of(log, fmt.Errorf("%w: %w", catalog.ErrUnavailable, context.DeadlineExceeded)); code != kerr.RequestTimedOut {
		t.Errorf("a deadline: %s", code.Name())
	}
}

// exportedSentinels lists the variables Err... that a room declares.
func exportedSentinels(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	must(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		must(t, err)
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, s := range g.Specs {
				for _, n := range s.(*ast.ValueSpec).Names {
					if strings.HasPrefix(n.Name, "Err") {
						names = append(names, f.Name.Name+"."+n.Name)
					}
				}
			}
		}
	}
	return names
}

// deny refuses what it is told to.
type deny func(authz.Access) bool

func (d deny) Allowed(a authz.Access) bool          { return !d(a) }
func (d deny) AllowedSomewhere(a authz.Access) bool { return !d(a) }

func TestAuthorizerIsAsked(t *testing.T) {
	secret := func(a authz.Access) bool {
		return a.Name == "secret" || a.Resource == kmsg.ACLResourceTypeCluster && a.Operation == kmsg.ACLOperationAlterConfigs
	}
	e := newEnv(t, options{authorizer: deny(secret)})
	tp := e.create("secret", 1, nil)
	e.create("open", 1, nil)
	c := e.dial()
	c.wantCode(ask[*kmsg.ProduceResponse](c, 9, produceRequest(tp, 0, batch(t, 1, record.Options{}))).Topics[0].Partitions[0].ErrorCode, kerr.TopicAuthorizationFailed)
	c.wantCode(ask[*kmsg.FetchResponse](c, 12, fetchRequest(tp, 1, 0)).Topics[0].Partitions[0].ErrorCode, kerr.TopicAuthorizationFailed)
	c.wantCode(ask[*kmsg.FetchResponse](c, 13, fetchRequest(tp, 1, 0)).Topics[0].Partitions[0].ErrorCode, kerr.TopicAuthorizationFailed)
	all := kmsg.NewPtrMetadataRequest()
	all.IncludeTopicAuthorizedOperations = true
	if m := ask[*kmsg.MetadataResponse](c, 9, all); len(m.Topics) != 1 || *m.Topics[0].Topic != "open" || m.Topics[0].AuthorizedOperations != 3576 {
		t.Errorf("%+v", m.Topics)
	}
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group = "secret"
	c.wantCode(ask[*kmsg.JoinGroupResponse](c, 5, join).ErrorCode, kerr.GroupAuthorizationFailed)
	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Group = "g"
	for _, name := range []string{"secret", "open"} {
		in := kmsg.NewOffsetCommitRequestTopic()
		in.Topic, in.Partitions = name, []kmsg.OffsetCommitRequestTopicPartition{kmsg.NewOffsetCommitRequestTopicPartition()}
		commit.Topics = append(commit.Topics, in)
	}
	_, err := e.api.consumerOffsets(t.Context())
	must(t, err)
	for _, out := range ask[*kmsg.OffsetCommitResponse](c, 7, commit).Topics {
		want := kerr.None
		if out.Topic == "secret" {
			want = kerr.TopicAuthorizationFailed
		}
		c.wantCode(out.Partitions[0].ErrorCode, want)
	}
	alter := kmsg.NewPtrIncrementalAlterConfigsRequest()
	alter.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker}}
	c.wantCode(ask[*kmsg.IncrementalAlterConfigsResponse](c, 1, alter).Resources[0].ErrorCode, kerr.ClusterAuthorizationFailed)
}
