package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// TestAnswersByListener says that clients of a listener are told where that one is, and not of brokers that have none of its name.
func TestAnswersByListener(t *testing.T) {
	e := newEnv(t, options{})
	e.create("orders", 2, nil)
	e.moveAway("orders", 1, 7, 3)
	c := e.dial()
	metadata := func(version int16) *kmsg.MetadataResponse {
		q := kmsg.NewPtrMetadataRequest()
		return ask[*kmsg.MetadataResponse](c, version, q)
	}
	both := `{"version":1,"incarnation":1,"host":"first","port":9094,"endpoints":[` +
		`{"listener":"CLIENT_IAM","host":"first","port":9098},{"listener":"CLIENT","host":"told","port":9092}]}`
	e.put("brokers/7", both)
	e.eventually(func() bool {
		for _, b := range metadata(12).Brokers {
			if b.NodeID == 7 {
				return b.Host == "told" && b.Port == 9092
			}
		}
		return false
	})
	d := ask[*kmsg.DescribeClusterResponse](c, 1, kmsg.NewPtrDescribeClusterRequest())
	if len(d.Brokers) != 2 || d.Brokers[1].Host != "told" {
		t.Errorf("DescribeCluster: %+v", d.Brokers)
	}
	e.put("brokers/7", `{"version":1,"incarnation":1,"host":"first","port":9098,"endpoints":[{"listener":"CLIENT_IAM","host":"first","port":9098}]}`)
	e.eventually(func() bool { return len(metadata(12).Brokers) == 1 })
	for version, want := range map[int16]kerr.Code{5: kerr.LeaderNotAvailable, 12: kerr.ListenerNotFound} {
		p := metadata(version).Topics[0].Partitions
		if kerr.Code(p[1].ErrorCode) != want || p[1].Leader != -1 || p[0].ErrorCode != 0 {
			t.Errorf("v%d: %+v", version, p)
		}
	}
	if d := ask[*kmsg.DescribeClusterResponse](c, 1, kmsg.NewPtrDescribeClusterRequest()); len(d.Brokers) != 1 {
		t.Errorf("DescribeCluster: %+v", d.Brokers)
	}
}
