package sizes

import (
	"slices"
	"strings"

	"millrace/engine"
)

// Standard says that a broker type is Apache Kafka itself.
func Standard(name string) bool { return strings.HasPrefix(name, "kafka.") }

// standardRow is one row of AWS's tables of standard broker types: the machine, the replicas of partitions that AWS recommends for a broker
// and those up to which it changes the cluster, the machine's lasting network throughput in megabits per second, and what a broker gets here.
type standardRow struct {
	name              string
	vCPUs, memoryGiB  int
	recommended, most int
	megabits          int64
	heapMiB           int64
}

// standardTable holds the types of each family from the smallest to the largest.
func standardTable() []standardRow {
	return []standardRow{
		{"kafka.t3.small", 2, 2, 300, 300, 128, 256},
		{"kafka.m5.large", 2, 8, 1000, 1500, 750, 320},
		{"kafka.m5.xlarge", 4, 16, 1000, 1500, 1250, 512},
		{"kafka.m5.2xlarge", 8, 32, 2000, 3000, 2500, 1024},
		{"kafka.m5.4xlarge", 16, 64, 4000, 6000, 5000, 2048},
		{"kafka.m5.8xlarge", 32, 128, 4000, 6000, 10_000, 3072},
		{"kafka.m5.12xlarge", 48, 192, 4000, 6000, 12_000, 4096},
		{"kafka.m5.16xlarge", 64, 256, 4000, 6000, 20_000, 5120},
		{"kafka.m5.24xlarge", 96, 384, 4000, 6000, 25_000, 6144},
		{"kafka.m7g.large", 2, 8, 1000, 1500, 937, 320},
		{"kafka.m7g.xlarge", 4, 16, 1000, 1500, 1876, 512},
		{"kafka.m7g.2xlarge", 8, 32, 2000, 3000, 3750, 1024},
		{"kafka.m7g.4xlarge", 16, 64, 4000, 6000, 7500, 2048},
		{"kafka.m7g.8xlarge", 32, 128, 4000, 6000, 15_000, 3072},
		{"kafka.m7g.12xlarge", 48, 192, 4000, 6000, 22_500, 4096},
		{"kafka.m7g.16xlarge", 64, 256, 4000, 6000, 30_000, 5120},
	}
}

// besideHeap is what a process of Java needs beside its heap, in bytes: classes, threads, buffers of connections. Pages of its files are the
// system's.
const besideHeap = 320 * MiB

func (r standardRow) build() Type {
	rate := int64(connectionRate)
	if r.name == "kafka.t3.small" {
		rate = 4
	}
	return Type{
		Name: r.name, VCPUs: r.vCPUs, MemoryGiB: r.memoryGiB, Recommended: r.recommended, Network: r.megabits * MB / 8,
		Process: Process{Heap: r.heapMiB * MiB, Memory: r.heapMiB*MiB + besideHeap, CPUs: r.vCPUs},
		Limits:  engine.Limits{Replicas: r.most, Connections: connections, ConnectionRate: int(rate), CPUs: r.vCPUs},
	}
}

// AllStandard returns the standard broker types, family by family, the smallest first.
func AllStandard() []Type {
	var all []Type
	for _, r := range standardTable() {
		all = append(all, r.build())
	}
	return all
}

// findStandard is Find among AllStandard.
func findStandard(name string) (Type, bool) {
	all := AllStandard()
	i := slices.IndexFunc(all, func(t Type) bool { return t.Name == name })
	if i < 0 {
		return Type{}, false
	}
	return all[i], true
}
