package coord

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// An answer that was made when the broker may have been replaced is not given: neither a reply nor what is read.
func TestAnswersCountOnlyWhileTheBrokerLeads(t *testing.T) {
	r := load(t, &memLog{}, fakeTopics{})
	leads := true
	r.cfg.Leads = func() bool { return leads }
	q := kmsg.NewPtrDescribeGroupsRequest()
	q.Groups = []string{"g"}
	member := r.join(t.Context(), "").MemberID
	for _, want := range []bool{true, false, true} {
		leads = want
		code, groups := r.heartbeat(member, 1), r.DescribeGroups(t.Context(), q).Groups
		if (code == kerr.NotCoordinator) == want || (kerr.Code(groups[0].ErrorCode) == kerr.NotCoordinator) == want {
			t.Errorf("the broker leads=%v: heartbeat %v, described %v", want, code, kerr.Code(groups[0].ErrorCode))
		}
	}
}
