package sizes_test

import (
	"strings"
	"testing"

	"millrace/control/sizes"
)

// S1, S3, S4.
func TestStandardTypes(t *testing.T) {
	all := sizes.AllStandard()
	if len(all) != 16 {
		t.Fatalf("%d types", len(all))
	}
	family := func(name string) string { return name[:strings.LastIndex(name, ".")] }
	for i, one := range all {
		if err := one.Limits.Validate(); err != nil || !sizes.Standard(one.Name) {
			t.Errorf("%s: %v", one.Name, err)
		}
		if found, err := sizes.Find(one.Name); err != nil || found != one {
			t.Errorf("%s is found as %+v, %v", one.Name, found, err)
		}
		if one.Process.Heap <= 0 || one.Process.Memory < one.Process.Heap+256*sizes.MiB || one.Recommended > one.Limits.Replicas {
			t.Errorf("%+v", one)
		}
		if i == 0 || family(all[i-1].Name) != family(one.Name) {
			continue
		}
		less := all[i-1]
		if one.VCPUs <= less.VCPUs || one.MemoryGiB <= less.MemoryGiB || one.Limits.Replicas < less.Limits.Replicas || one.Network <= less.Network ||
			one.Process.Heap <= less.Process.Heap {
			t.Errorf("%s promises less than %s", one.Name, less.Name)
		}
	}
}
