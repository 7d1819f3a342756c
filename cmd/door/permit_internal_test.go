package door

import (
	"net/http/httptest"
	"testing"

	"millrace/cmd/api"
)

// TestRightsAreOfTheClusterInThePath: what a path asks for, and of which cluster; the right to one cluster is not that to another.
func TestRightsAreOfTheClusterInThePath(t *testing.T) {
	for _, c := range []struct{ method, path, cluster, action string }{
		{"GET", "/clusters/default", "default", "kafka:DescribeCluster"},
		{"GET", "/clusters/orders", "orders", "kafka:DescribeCluster"},
		{"GET", "/clusters/orders/usage", "orders", "millrace:DescribeUsage"},
		{"GET", "/clusters/default/usage", "default", "millrace:DescribeUsage"},
		{"POST", "/clusters/orders/usage", "orders", "millrace:UpdateCluster"},
		{"GET", "/clusters/orders/operations/3", "orders", "kafka:ListClusterOperations"},
		{"GET", "/clusters/orders/hosts", "orders", "kafka:ListNodes"},
		{"GET", "/clusters/default/network/x", "default", "millrace:DescribeNetwork"},
		{"POST", "/clusters/orders/network/x", "orders", "millrace:UpdateNetwork"},
		{"POST", "/clusters/orders/audit", "orders", "millrace:UpdateCluster"},
		{"GET", "/backup", "default", "millrace:BackupCluster"},
	} {
		r := httptest.NewRequest(c.method, api.Root+c.path, nil)
		action, err := actionOf(r)
		if name, _ := clusterOf(r.URL.Path); err != nil || action != c.action || name != c.cluster {
			t.Errorf("%s %s: %s of %s, %v; want %s of %s", c.method, c.path, action, name, err, c.action, c.cluster)
		}
	}
}
