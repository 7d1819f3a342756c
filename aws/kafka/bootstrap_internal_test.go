package kafka

import (
	"maps"
	"testing"
)

// TestBootstrapWords: which string which listener has.
func TestBootstrapWords(t *testing.T) {
	got := bootstrap(map[string][]string{
		"CLIENT": {"10.0.0.1:9092", "[fd00::1]:9092"}, "CLIENT_SECURE": {"a:9094"}, "CLIENT_SECURE_PUBLIC": {"b:9194"}, "CLIENT_SECURE_VPCE": {"c:14001"},
		"CLIENT_SASL_SCRAM": {"[fd00::1]:9096"}, "CLIENT_SASL_SCRAM_PUBLIC": {"d:9196"}, "CLIENT_SASL_SCRAM_VPCE": {"e:14002"}, "CLIENT_IAM": {"f:9098"},
		"CLIENT_IAM_PUBLIC": {"g:9198", "h:9298"}, "CLIENT_IAM_VPCE": {"i:14003"}, "REPLICATION_SECURE": {"j:9095"},
	}, true)
	want := map[string]string{
		"bootstrapBrokerString": "10.0.0.1:9092", "bootstrapBrokerStringIpv6": "[fd00::1]:9092", "bootstrapBrokerStringTls": "a:9094",
		"bootstrapBrokerStringPublicTls": "b:9194", "bootstrapBrokerStringVpcConnectivityTls": "c:14001",
		"bootstrapBrokerStringSaslScramIpv6": "[fd00::1]:9096", "bootstrapBrokerStringPublicSaslScram": "d:9196",
		"bootstrapBrokerStringVpcConnectivitySaslScram": "e:14002", "bootstrapBrokerStringSaslIam": "f:9098",
		"bootstrapBrokerStringPublicSaslIam": "g:9198,h:9298", "bootstrapBrokerStringVpcConnectivitySaslIam": "i:14003",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := bootstrap(map[string][]string{"CLIENT": {"[::1]:9092"}}, false); got["bootstrapBrokerString"] != "[::1]:9092" || len(got) != 1 {
		t.Errorf("a cluster that says nothing of IPv6 has %v", got)
	}
}
