package quota_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"millrace/express/quota"
)

func text(s string) *string { return &s }

func TestDescribe(t *testing.T) {
	table := quota.NewTable(map[quota.Entity]quota.Values{
		user(quota.Exactly("alice")):                       only(quota.Produce, 1),
		user(quota.Default()):                              only(quota.Produce, 2),
		both(quota.Exactly("alice"), quota.Exactly("app")): only(quota.Produce, 3),
		both(quota.Exactly("alice"), quota.Default()):      only(quota.Produce, 4),
		clientID(quota.Exactly("app")):                     only(quota.Produce, 5),
		address(quota.Default()):                           only(quota.Connections, 6),
	})
	anyUser := quota.Component{Type: quota.TypeUser, Match: quota.MatchSpecified}
	alice := quota.Component{Type: quota.TypeUser, Name: text("alice")}
	for _, c := range []struct {
		name   string
		filter []quota.Component
		strict bool
		want   []string
	}{
		{"all", nil, false, []string{"client-id,user=alice", "client-id=app", "client-id=app,user=alice", "ip", "user", "user=alice"}},
		{"none, strict", nil, true, nil},
		{"a user and more", []quota.Component{alice}, false, []string{"client-id,user=alice", "client-id=app,user=alice", "user=alice"}},
		{"a user", []quota.Component{alice}, true, []string{"user=alice"}},
		{"users", []quota.Component{anyUser}, true, []string{"user", "user=alice"}},
		{"default user", []quota.Component{{Type: quota.TypeUser, Match: quota.MatchDefault}}, false, []string{"user"}},
		{"a user's default client", []quota.Component{anyUser, {Type: quota.TypeClientID, Match: quota.MatchDefault}}, false, []string{"client-id,user=alice"}},
		{"nobody", []quota.Component{{Type: quota.TypeUser, Name: text("zoe")}}, false, nil},
	} {
		found, err := table.Describe(c.filter, c.strict)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		var got []string
		for _, e := range found {
			got = append(got, e.Entity.Key())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestFiltersThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		filter []quota.Component
		want   error
	}{
		{"empty type", []quota.Component{{}}, quota.ErrInvalid},
		{"unknown type", []quota.Component{{Type: "team", Name: text("x")}}, quota.ErrUnsupported},
		{"twice", []quota.Component{{Type: "user", Name: text("x")}, {Type: "user", Match: quota.MatchDefault}}, quota.ErrInvalid},
		{"exact without name", []quota.Component{{Type: "user"}}, quota.ErrInvalid},
		{"default with name", []quota.Component{{Type: "user", Match: quota.MatchDefault, Name: text("x")}}, quota.ErrInvalid},
		{"any with name", []quota.Component{{Type: "user", Match: quota.MatchSpecified, Name: text("x")}}, quota.ErrInvalid},
		{"unknown match", []quota.Component{{Type: "user", Match: 3}}, quota.ErrInvalid},
		{"ip and user", []quota.Component{{Type: "user", Name: text("x")}, {Type: "ip", Match: quota.MatchDefault}}, quota.ErrInvalid},
	} {
		if _, err := new(quota.Table).Describe(c.filter, false); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.want)
		}
	}
}

func TestEntitiesThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		parts []quota.Part
	}{
		{"none", nil},
		{"unknown type", []quota.Part{{Type: "team"}}},
		{"empty name", []quota.Part{{Type: "user", Name: text("")}}},
		{"ip and user", []quota.Part{{Type: "user"}, {Type: "ip"}}},
		{"no address", []quota.Part{{Type: "ip", Name: text("256.1.1.1")}}},
		{"too long", []quota.Part{{Type: "user", Name: text(string(make([]byte, 5000)))}}},
	} {
		if e, err := quota.NewEntity(c.parts); !errors.Is(err, quota.ErrInvalid) {
			t.Errorf("%s: entity %+v, error %v", c.name, e, err)
		}
	}
}

func TestApply(t *testing.T) {
	alice := user(quota.Exactly("alice"))
	now := quota.Values{"producer_byte_rate": 10, "request_percentage": 50}
	next, err := quota.Apply(alice, now, []quota.Op{
		{Key: "producer_byte_rate", Remove: true}, {Key: "no such key", Remove: true}, {Key: "controller_mutation_rate", Value: 1.5},
	})
	if err != nil || len(next) != 2 || next["controller_mutation_rate"] != 1.5 || next["request_percentage"] != 50 || len(now) != 2 {
		t.Errorf("quotas %v, error %v; before %v", next, err, now)
	}
	next, err = quota.Apply(alice, now, []quota.Op{{Key: "producer_byte_rate", Remove: true}, {Key: "request_percentage", Remove: true}})
	if err != nil || next != nil {
		t.Errorf("with all removed: %v, error %v", next, err)
	}
	for _, c := range []struct {
		name   string
		entity quota.Entity
		ops    []quota.Op
	}{
		{"twice", alice, []quota.Op{{Key: "producer_byte_rate", Value: 1}, {Key: "producer_byte_rate", Remove: true}}},
		{"unknown key", alice, []quota.Op{{Key: "speed", Value: 1}}},
		{"key of addresses", alice, []quota.Op{{Key: "connection_creation_rate", Value: 1}}},
		{"key of users", address(quota.Default()), []quota.Op{{Key: "producer_byte_rate", Value: 1}}},
		{"fraction", alice, []quota.Op{{Key: "consumer_byte_rate", Value: 1.5}}},
		{"no number", alice, []quota.Op{{Key: "request_percentage", Value: math.NaN()}}},
		{"zero", alice, []quota.Op{{Key: "request_percentage"}}},
		{"below zero", alice, []quota.Op{{Key: "producer_byte_rate", Value: -1}}},
		{"too large", address(quota.Default()), []quota.Op{{Key: "connection_creation_rate", Value: 1e10}}},
		{"infinite", alice, []quota.Op{{Key: "request_percentage", Value: math.Inf(1)}}},
	} {
		if next, err := quota.Apply(c.entity, now, c.ops); !errors.Is(err, quota.ErrInvalid) {
			t.Errorf("%s: %v, error %v", c.name, next, err)
		}
	}
}
