package sizes

import (
	"errors"
	"fmt"
	"strings"

	"millrace/engine"
)

// ErrUnknown: there is no broker type of this name.
var ErrUnknown = errors.New("unknown broker type")

// Type is one broker type.
type Type struct {
	Name        string        // as "express.m7g.large"
	VCPUs       int           // of the machine that has this name at AWS
	MemoryGiB   int           // likewise
	Recommended int           // replicas of partitions that AWS recommends for a broker; Limits.Replicas is what it allows
	Network     int64         // bytes per second that the machine of this name carries at AWS; of standard types, 0 of others. It is not held to
	Process     Process       // what a broker's process gets here
	Limits      engine.Limits // what the type promises, and what a broker keeps clients to
}

// Process is what a broker's process gets.
type Process struct {
	Heap   int64 // bytes, of its Java machine; 0: it has none
	Memory int64 // bytes to stay within, the heap included
	CPUs   int   // processors at a time, where the host has as many
}

// MB is a million bytes.
const MB = 1_000_000

// MiB is what the memory of processes is given in.
const MiB = 1 << 20

// What AWS says of all express brokers.
const (
	connections    = 3000 // of clients that log in by IAM, the only ones that AWS bounds; here they bound all
	connectionRate = 100  // per second
)

// kilo is a thousandth of what tables give in MBps, so that they need no fractions.
const kilo = MB / 1000

// row is one row of AWS's table: kilobytes per second, sustained and at most.
type row struct {
	size                   string
	vCPUs, memoryGiB       int
	in, inMax, out, outMax int64
	recommended, most      int
	memoryMiB              int64
}

// table holds the sizes from the smallest to the largest.
func table() []row {
	return []row{
		{"large", 2, 8, 15_600, 23_400, 31_200, 58_500, 1000, 1500, 192},
		{"xlarge", 4, 16, 31_200, 46_800, 62_500, 117_000, 1000, 2000, 256},
		{"2xlarge", 8, 32, 62_500, 93_700, 125_000, 234_200, 2500, 4000, 384},
		{"4xlarge", 16, 64, 124_900, 187_500, 249_800, 468_700, 6000, 8000, 512},
		{"8xlarge", 32, 128, 250_000, 375_000, 500_000, 937_500, 12_000, 16_000, 768},
		{"12xlarge", 48, 192, 375_000, 562_500, 750_000, 1_406_200, 16_000, 24_000, 1024},
		{"16xlarge", 64, 256, 500_000, 750_000, 1_000_000, 1_875_000, 20_000, 32_000, 1536},
	}
}

// family is what the names of express types begin with.
const family = "express.m7g."

func (r row) build() Type {
	return Type{
		Name: family + r.size, VCPUs: r.vCPUs, MemoryGiB: r.memoryGiB, Recommended: r.recommended,
		Process: Process{Memory: r.memoryMiB * MiB, CPUs: r.vCPUs},
		Limits: engine.Limits{
			In: engine.Flow{Sustained: r.in * kilo, Max: r.inMax * kilo}, Out: engine.Flow{Sustained: r.out * kilo, Max: r.outMax * kilo},
			Replicas: r.most, Connections: connections, ConnectionRate: connectionRate, CPUs: r.vCPUs,
		},
	}
}

// All returns the express broker types, the smallest first.
func All() []Type {
	rows := table()
	all := make([]Type, len(rows))
	for i, r := range rows {
		all[i] = r.build()
	}
	return all
}

// Find returns a broker type by its name, or ErrUnknown.
func Find(name string) (Type, error) {
	for _, r := range table() {
		if name == family+r.size {
			return r.build(), nil
		}
	}
	if t, ok := findStandard(name); ok {
		return t, nil
	}
	return Type{}, fmt.Errorf("%w: %q; the types on offer are %s", ErrUnknown, name, strings.Join(Names(), ", "))
}

// Names returns the names of All, and of AllStandard.
func Names() []string {
	var names []string
	for _, t := range append(All(), AllStandard()...) {
		names = append(names, t.Name)
	}
	return names
}
