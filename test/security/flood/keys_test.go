package flood

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/xdg-go/scram"

	"millrace/secure/identity"
	"millrace/test/security/madeup"
)

// What nobody without rights may learn of.
const (
	hiddenTopic = "hidden-topic-4711"
	hiddenGroup = "hidden-group-4711"
	hiddenTxn   = "hidden-trans-4711"
	hiddenUser  = "hidden-user-4711"
	mallory     = "mallory"
)

// hide makes them, has only those do something who were told that they may, and returns the id of the topic.
func (f *fortress) hide() [16]byte {
	f.t.Helper()
	ctx, client := f.t.Context(), f.iam()
	admin := kadm.NewClient(client)
	made, err := admin.CreateTopic(ctx, 1, 1, nil, hiddenTopic)
	must(f.t, err)
	must(f.t, client.ProduceSync(ctx, &kgo.Record{Topic: hiddenTopic, Key: []byte("k"), Value: []byte(hiddenTopic)}).FirstErr())
	offsets := kadm.Offsets{}
	offsets.AddOffset(hiddenTopic, 0, 1, -1)
	must(f.t, admin.CommitAllOffsets(ctx, hiddenGroup, offsets))
	f.user(hiddenUser, goodWord)
	f.user(mallory, goodWord)
	no := "false"
	done, err := admin.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "allow.everyone.if.no.acl.found", Value: &no}}, 1)
	must(f.t, err)
	_, err = done.On("1", func(r *kadm.AlterConfigsResponse) error { return r.Err })
	must(f.t, err)
	_, err = admin.CreateACLs(ctx, kadm.NewACLs().Allow("User:"+hiddenUser).AllowHosts("*").Topics(hiddenTopic).ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpRead))
	must(f.t, err)
	return made.ID
}

// kafkaState is all that an administrator is shown of the cluster.
func (f *fortress) kafkaState() map[string]string {
	f.t.Helper()
	ctx, admin, all := f.t.Context(), kadm.NewClient(f.iam()), map[string]string{}
	put := func(what string, v any, err error) {
		must(f.t, err)
		all[what] = fmt.Sprintf("%+v", v)
	}
	topics, err := admin.ListTopicsWithInternal(ctx)
	for _, t := range topics.Sorted() {
		put("topic "+t.Topic, t, t.Err)
	}
	must(f.t, err)
	ends, err := admin.ListEndOffsets(ctx, topics.Names()...)
	must(f.t, err)
	ends.Each(func(o kadm.ListedOffset) { put(fmt.Sprintf("end of %s-%d", o.Topic, o.Partition), o.Offset, o.Err) })
	starts, err := admin.ListStartOffsets(ctx, topics.Names()...)
	must(f.t, err)
	starts.Each(func(o kadm.ListedOffset) { put(fmt.Sprintf("start of %s-%d", o.Topic, o.Partition), o.Offset, o.Err) })
	for what, q := range map[string]kmsg.Request{
		"configs": &kmsg.DescribeConfigsRequest{Version: 4, Resources: []kmsg.DescribeConfigsRequestResource{
			{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: hiddenTopic}, {ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: topic},
			{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"},
		}},
		"acls":         &kmsg.DescribeACLsRequest{Version: 3, ResourceType: 1, ResourcePatternType: 1, Operation: 1, PermissionType: 1},
		"groups":       &kmsg.ListGroupsRequest{Version: 5},
		"transactions": &kmsg.ListTransactionsRequest{Version: 1, DurationFilterMillis: -1},
		"users":        &kmsg.DescribeUserSCRAMCredentialsRequest{},
		"quotas":       &kmsg.DescribeClientQuotasRequest{Version: 1},
	} {
		resp, err := f.iam().Request(ctx, q)
		must(f.t, err)
		all[what] = fmt.Sprintf("%x", resp.AppendTo(nil))
	}
	return all
}

// unchanged compares what there is with what there was.
func (f *fortress) unchanged(before, after map[string]string) {
	f.t.Helper()
	for _, what := range slices.Sorted(maps.Keys(after)) {
		if before[what] != after[what] {
			f.t.Errorf("%s changed:\n%.600s\n%.600s", what, before[what], after[what])
		}
	}
	for what := range before {
		if _, ok := after[what]; !ok {
			f.t.Errorf("%s is gone", what)
		}
	}
}

// offered are the versions of all keys, as a listener tells them.
func (f *fortress) offered(step int) []kmsg.ApiVersionsResponseApiKey {
	f.t.Helper()
	c, err := f.enter("127.0.0.1", step)
	must(f.t, err)
	defer end(c.Conn)
	q := kmsg.NewPtrApiVersionsRequest()
	q.Version, q.ClientSoftwareName, q.ClientSoftwareVersion = 3, "flood", "1"
	resp, err := c.ask(q)
	must(f.t, err)
	return resp.(*kmsg.ApiVersionsResponse).ApiKeys
}

// mallory logs in, as a user who may do nothing.
func (f *fortress) mallory() *conn {
	f.t.Helper()
	c, err := f.enter("127.0.0.1", portScram)
	must(f.t, err)
	must(f.t, c.choose(identity.ScramSHA512))
	x, err := scram.SHA512.NewClientUnprepped(mallory, goodWord, "")
	must(f.t, err)
	talk := x.NewConversation()
	reply := ""
	for range 2 {
		message, err := talk.Step(reply)
		must(f.t, err)
		q := say([]byte(message))
		must(f.t, c.send(q))
		answer, err := c.said(q)
		must(f.t, err)
		reply = string(answer)
	}
	return c
}

// TestEveryKey is asked for in every version before a login, in the middle of one, by somebody who may do nothing, and by a key that may
// not even connect.
func TestEveryKey(t *testing.T) {
	f := start(t)
	id := f.hide()
	keys := f.offered(portScram)
	words := madeup.Words{Topic: hiddenTopic, Group: hiddenGroup, Txn: hiddenTxn, ID: id}
	before := f.kafkaState()
	asked, answered, cut := 0, 0, 0
	leaks := func(q kmsg.Request, resp kmsg.Response) {
		sent, got := q.AppendTo(nil), resp.AppendTo(nil)
		for _, word := range []string{hiddenTopic, hiddenGroup, hiddenTxn, hiddenUser, goodUser, string(id[:])} {
			if bytes.Contains(got, []byte(word)) && !bytes.Contains(sent, []byte(word)) {
				t.Errorf("%s v%d tells %q", kmsg.NameForKey(q.Key()), q.GetVersion(), word)
			}
		}
	}
	each := func(variants uint64, do func(q kmsg.Request)) {
		for _, k := range keys {
			for version := max(k.MinVersion, kmsg.RequestForKey(k.ApiKey).GetVersion()); version <= k.MaxVersion; version++ {
				for seed := range variants {
					q := madeup.Request(k.ApiKey, version, seed, words)
					if p, ok := q.(*kmsg.ProduceRequest); ok && p.Acks == 0 {
						p.Acks = 1
					}
					asked++
					do(q)
				}
			}
		}
	}
	stranger := func(step int, choose identity.Mechanism) func(kmsg.Request) {
		return func(q kmsg.Request) {
			c, err := f.enter("127.0.0.1", step)
			must(t, err)
			defer end(c.Conn)
			if choose != "" {
				must(t, c.choose(choose))
			}
			resp, err := c.ask(q)
			switch key := kmsg.Key(q.Key()); {
			case err != nil:
				cut++
			case key != kmsg.ApiVersions && key != kmsg.SASLHandshake && key != kmsg.SASLAuthenticate:
				t.Errorf("%s v%d was answered before the login: %+v", key.Name(), q.GetVersion(), resp)
			default:
				answered++
				leaks(q, resp)
			}
		}
	}
	each(1, stranger(portScram, ""))
	each(1, stranger(portIAM, ""))
	each(1, stranger(portScram, identity.ScramSHA512))
	before2, c := answered, f.mallory()
	each(6, func(q kmsg.Request) {
		resp, err := c.ask(q)
		if err != nil {
			cut++
			end(c.Conn)
			c = f.mallory()
			return
		}
		answered++
		leaks(q, resp)
	})
	end(c.Conn)
	f.unchanged(before, f.kafkaState())
	t.Logf("%d requests of %d keys: %d answered, %d of them without a login; %d cut off", asked, len(keys), answered, before2, cut)
	if len(keys) < 60 || answered-before2 < asked/3 {
		t.Errorf("the walk went nowhere: %d keys, %d answered", len(keys), answered)
	}
	// A key without any policy does not come in.
	nobody, secret := f.nobody()
	if err := f.try("127.0.0.1", f.tls, attempt{portIAM, identity.MSKIAM, f.byIAM(nobody, secret, now())}); !errors.Is(err, errRefused) {
		t.Errorf("a key without rights connects: %v", err)
	}
}
