package arn

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	id  = "0f3a9a6e-2f0b-4c3e-9d51-0a1b2c3d4e5f"
	id1 = id + "-1"
)

var home = Home{"eu-west-1", "123456789012"}

func resources() *rapid.Generator[Resource] {
	return rapid.Custom(func(t *rapid.T) Resource {
		r := Resource{
			Region: rapid.StringMatching(`[a-z0-9-]{1,20}`).Draw(t, "region"), Account: rapid.StringMatching(`[0-9]{12}`).Draw(t, "account"),
			Kind: rapid.SampledFrom([]Kind{Cluster, Operation, Configuration, VPCConnection, Replicator, Channel, Broker, Topic, Group, TransactionalID}).Draw(t, "kind"),
			Name: rapid.StringMatching(`[a-zA-Z0-9._-]{1,64}`).Draw(t, "name"), ID: rapid.StringMatching(`[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}`).Draw(t, "id"),
		}
		switch r.Kind {
		case VPCConnection:
			r.Owner = rapid.StringMatching(`[0-9]{12}`).Draw(t, "owner")
			return r
		case Operation, Channel, Broker:
			r.Child = id
		case Topic:
			r.Child = rapid.StringMatching(`[a-zA-Z0-9._-]{1,249}`).Draw(t, "topic")
		case Group, TransactionalID:
			r.Child = rapid.StringMatching(`[!-~ä€]{1,60}`).Draw(t, "group")
		}
		r.ID += "-" + rapid.StringMatching(`[1-9][0-9]{0,5}`).Draw(t, "n")
		return r
	})
}

// TestForms: what is made is read again into what it was made of (AR1).
func TestForms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := resources().Draw(t, "resource")
		got, err := Parse(r.String())
		if err != nil || got != r {
			t.Fatalf("%s: %+v, %v", r, got, err)
		}
	})
	for want, got := range map[string]string{
		"cluster/a/" + id1:                            home.Cluster("a", id1),
		"cluster-operation/a/" + id1 + "/" + id:       home.Operation("a", id1, id),
		"configuration/a/" + id1:                      home.Configuration("a", id1),
		"vpc-connection/" + home.Account + "/a/" + id: home.VPCConnection("a", id),
		"topic/a/" + id1 + "/orders":                  home.Topic("a", id1, "orders"),
		"broker/a/" + id1 + "/" + id:                  home.Broker("a", id1, id),
	} {
		if got != "arn:aws:kafka:eu-west-1:123456789012:"+want {
			t.Errorf("%s, want the end %s", got, want)
		}
	}
}

func TestRefused(t *testing.T) {
	const head = "arn:aws:kafka:eu-west-1:123456789012:"
	for _, bad := range []string{
		"", "arn", "cluster/a/" + id1, head, head + "cluster", head + "cluster/", head + "cluster//" + id1, head + "cluster/a", head + "cluster/a/", head + "cluster/a/" + id,
		head + "cluster/a/" + id + "-", head + "cluster/a/" + id + "-0", head + "cluster/a/" + id + "-01", head + "cluster/a/" + id + "-1234567", head + "cluster/a/" + id1 + "/",
		head + "cluster/a/" + id1 + "/x", head + "cluster/a/" + strings.ToUpper(id1), head + "cluster/a b/" + id1, head + "cluster/ä/" + id1, head + "queue/a/" + id1,
		head + "topic/a/" + id1, head + "topic/a/" + id1 + "/", head + "topic/a/" + id1 + "/x/y", head + "topic/a/" + id1 + "/x:y", head + "cluster-operation/a/" + id1 + "/1",
		head + "vpc-connection/a/" + id, head + "vpc-connection/123456789012/a/" + id1, head + "cluster/a/" + id1 + "\n", head + "cluster/*/*", "x" + head + "cluster/a/" + id1,
		"arn:aws-cn:kafka:eu-west-1:123456789012:cluster/a/" + id1, "arn:aws:s3:eu-west-1:123456789012:cluster/a/" + id1, "arn:aws:kafka::123456789012:cluster/a/" + id1,
		"arn:aws:kafka:eu-west-1:12345678901:cluster/a/" + id1, "arn:aws:kafka:eu-west-1:12345678901x:cluster/a/" + id1, "arn:aws:kafka:EU:123456789012:cluster/a/" + id1,
		"arn:aws:kafka:eu-west-1::cluster/a/" + id1, head + "group/a/" + id1 + "/" + strings.Repeat("x", most),
	} {
		if r, err := Parse(bad); !errors.Is(err, ErrForm) || r != (Resource{}) {
			t.Errorf("%q: %+v, %v", bad, r, err)
		}
	}
}

func TestFind(t *testing.T) {
	for text, want := range map[string]error{
		home.Cluster("a", id1): nil, home.Configuration("a", id1): ErrForm, "x": ErrForm,
		Home{"eu-west-2", home.Account}.Cluster("a", id1): ErrElsewhere, Home{home.Region, "210987654321"}.Cluster("a", id1): ErrElsewhere,
	} {
		if _, err := home.Find(text, Cluster); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
	if _, err := home.Find(home.Topic("a", id1, "x"), Cluster, Topic); err != nil {
		t.Error(err)
	}
}

func TestSecrets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name, tail := rapid.StringMatching(`[a-zA-Z0-9/_+=.@-]{1,100}`).Draw(t, "name"), rapid.StringMatching(`[a-zA-Z0-9]{6}`).Draw(t, "tail")
		gotName, gotTail, err := home.FindSecret(home.Secret(name, tail))
		if err != nil || gotName != name || gotTail != tail {
			t.Fatalf("%s, %s, %v", gotName, gotTail, err)
		}
	})
	const head = "arn:aws:secretsmanager:eu-west-1:123456789012:"
	for _, bad := range []string{head, head + "secret:", head + "secret:a", head + "secret:-abcdef", head + "secret:a-abcde", head + "secret:a-abcde!", head + "secret:a b-abcdef", "secret:a-abcdef"} {
		if _, _, err := home.FindSecret(bad); !errors.Is(err, ErrForm) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, _, err := home.FindSecret(Home{"eu-west-2", home.Account}.Secret("a", "abcdef")); !errors.Is(err, ErrElsewhere) {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(home.Cluster("a", id1))
	f.Add(home.VPCConnection("a", id))
	f.Add(home.Topic("a", id1, "orders"))
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text)
		if err == nil && r.String() != text {
			t.Fatalf("%q is written %q", text, r)
		}
	})
}
