package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/secure/authz"
)

// Users are told of once, in Kafka's words.
func TestDescribeUserScramCredentials(t *testing.T) {
	c := newEnv(t, options{}).dial()
	q := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
	resp := ask[*kmsg.DescribeUserSCRAMCredentialsResponse](c, 0, q)
	if resp.ErrorCode != 0 || len(resp.Results) != 0 || resp.ErrorMessage == nil || *resp.ErrorMessage != "" {
		t.Errorf("all users: %+v", resp)
	}
	q.Users = []kmsg.DescribeUserSCRAMCredentialsRequestUser{{Name: "alice"}, {Name: "bob"}, {Name: "alice"}}
	want := map[string]kerr.Code{"alice": kerr.DuplicateResource, "bob": kerr.ResourceNotFound}
	resp = ask[*kmsg.DescribeUserSCRAMCredentialsResponse](c, 0, q)
	for _, one := range resp.Results {
		if kerr.Code(one.ErrorCode) != want[one.User] || one.ErrorMessage == nil {
			t.Errorf("%+v, want %v", one, want[one.User])
		}
		delete(want, one.User)
	}
	if resp.ErrorCode != 0 || len(want) > 0 {
		t.Errorf("%+v; left: %v", resp, want)
	}
}

func upsert(user string, mechanism int8, iterations int32, salted string) kmsg.AlterUserSCRAMCredentialsRequestUpsertion {
	u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	u.Name, u.Mechanism, u.Iterations, u.Salt, u.SaltedPassword = user, mechanism, iterations, []byte("salt"), []byte(salted)
	return u
}

func deletion(user string, mechanism int8) kmsg.AlterUserSCRAMCredentialsRequestDeletion {
	d := kmsg.NewAlterUserSCRAMCredentialsRequestDeletion()
	d.Name, d.Mechanism = user, mechanism
	return d
}

// Changes are checked as Kafka checks them, each user for itself, and what holds is told by DescribeUserScramCredentials.
func TestAlterUserScramCredentials(t *testing.T) {
	e := newEnv(t, options{})
	c := e.dial()
	alter := func(want map[string]string, deletions []kmsg.AlterUserSCRAMCredentialsRequestDeletion, upsertions ...kmsg.AlterUserSCRAMCredentialsRequestUpsertion) {
		t.Helper()
		q := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
		q.Deletions, q.Upsertions = deletions, upsertions
		resp := ask[*kmsg.AlterUserSCRAMCredentialsResponse](c, 0, q)
		got := make(map[string]string, len(resp.Results))
		for _, r := range resp.Results {
			got[r.User] = kerr.Code(r.ErrorCode).Name()
			if r.ErrorMessage != nil {
				got[r.User] += ": " + *r.ErrorMessage
			}
		}
		if len(got) != len(resp.Results) || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v\nwant %v", resp.Results, want)
		}
	}
	type dels = []kmsg.AlterUserSCRAMCredentialsRequestDeletion
	const twice = "DUPLICATE_RESOURCE: A user credential cannot be altered twice in the same request"
	const missing = "RESOURCE_NOT_FOUND: Attempt to delete a user credential that does not exist"
	alter(map[string]string{}, nil)
	alter(map[string]string{
		"alice": "NONE", "": "UNACCEPTABLE_CREDENTIAL: Username must not be empty", "few": "UNACCEPTABLE_CREDENTIAL: Too few iterations",
		"many": "UNACCEPTABLE_CREDENTIAL: Too many iterations", "odd": "UNSUPPORTED_SASL_MECHANISM: Unknown SCRAM mechanism", "none": missing,
		"twice": twice, "both": missing, "most": "NONE",
	}, dels{deletion("none", 1), deletion("both", 1)},
		upsert("alice", 1, 4096, "x"), upsert("", 1, 4096, "x"), upsert("few", 2, 4095, "x"), upsert("many", 2, 16385, "x"), upsert("odd", 3, 4096, "x"),
		upsert("twice", 1, 4096, "x"), upsert("twice", 2, 4096, "x"), upsert("both", 1, 4096, "x"), upsert("most", 2, 16384, "x"))
	alter(map[string]string{"alice": "NONE"}, nil, upsert("alice", 2, 8192, "x"))

	q := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
	resp := ask[*kmsg.DescribeUserSCRAMCredentialsResponse](c, 0, q)
	var lines []string
	for _, r := range resp.Results {
		lines = append(lines, fmt.Sprint(r.User, r.ErrorCode, r.CredentialInfos))
	}
	if got, want := strings.Join(lines, "; "), "alice0[{1 4096 {map[]}} {2 8192 {map[]}}]; most0[{2 16384 {map[]}}]"; !strings.HasPrefix(got, "alice0") || len(lines) != 2 ||
		len(resp.Results[0].CredentialInfos) != 2 || resp.Results[0].CredentialInfos[1].Iterations != 8192 {
		t.Errorf("got %s, want %s", got, want)
	}
	alter(map[string]string{"alice": "NONE", "most": twice}, dels{deletion("alice", 1), deletion("most", 2)}, upsert("most", 2, 4096, "x"))
	alter(map[string]string{"alice": missing}, dels{deletion("alice", 1)})
	if got := fmt.Sprint(e.users.Users(), e.users.Describe("alice")); got != "[alice most] [{SCRAM-SHA-512 8192}]" {
		t.Errorf("left: %s", got)
	}
}

// Who may not alter the cluster changes nothing.
func TestAlterUserScramCredentialsNeedsAlter(t *testing.T) {
	e := newEnv(t, options{authorizer: deny(func(a authz.Access) bool {
		return a.Operation == kmsg.ACLOperationAlter && a.Resource == kmsg.ACLResourceTypeCluster
	})})
	q := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	q.Upsertions = []kmsg.AlterUserSCRAMCredentialsRequestUpsertion{upsert("alice", 1, 4096, "x")}
	resp := ask[*kmsg.AlterUserSCRAMCredentialsResponse](e.dial(), 0, q)
	if len(resp.Results) != 1 || kerr.Code(resp.Results[0].ErrorCode) != kerr.ClusterAuthorizationFailed || len(e.users.Users()) > 0 {
		t.Errorf("%+v, users %v", resp, e.users.Users())
	}
}
