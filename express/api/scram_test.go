package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// No user has SCRAM credentials; a user that is asked for is told so, once.
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
