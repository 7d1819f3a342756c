package wal

import (
	"context"
	"encoding/binary"
	"fmt"
	"syscall"
	"testing"
	"time"

	"millrace/base/disk"
	"millrace/base/slab"
)

// openReal opens a log on the machine's disk with default sizes.
func openReal(b *testing.B) *Log {
	w := testWorld(b, disk.OS(b.TempDir()))
	slabs, err := slab.New(slab.Config{}) // without the poison of the tests
	if err != nil {
		b.Fatal(err)
	}
	w.Slabs = slabs
	l, err := Open(b.Context(), Config{Dir: "."}, w)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close(context.Background()) })
	return l
}

// cpuTime is what the process has used, its system calls included.
func cpuTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// reportCPU reports the CPU for a GB: on a machine that others use too, time on the clock says little.
func reportCPU(b *testing.B, size int64, before time.Duration) {
	b.ReportMetric((cpuTime(b)-before).Seconds()*1e9/float64(size*int64(b.N)), "cpu-s/GB")
}

// BenchmarkAppend keeps some entries in flight over 16 streams, every one synced. Old data is trimmed on the way.
func BenchmarkAppend(b *testing.B) { benchAppend(b) }

// BenchmarkAppendEncrypted is the same with encryption (testWorld goes by the name).
func BenchmarkAppendEncrypted(b *testing.B) { benchAppend(b) }

func benchAppend(b *testing.B) {
	for _, c := range []struct{ size, inFlight int }{{1 << 10, 1}, {1 << 10, 256}, {16 << 10, 1}, {16 << 10, 64}, {1 << 20, 1}, {1 << 20, 8}} {
		b.Run(fmt.Sprintf("%dKiB/%d", c.size>>10, c.inFlight), func(b *testing.B) {
			l := openReal(b)
			var streams [16]*Stream
			for i := range streams {
				streams[i] = l.Stream(partition(i))
			}
			free := make(chan *Entry, c.inFlight)
			for range c.inFlight {
				e := entryOf(batchSpec{size: c.size})
				e.Done = func(err error) {
					if err != nil {
						b.Error(err)
					}
					free <- e
				}
				free <- e
			}
			b.SetBytes(int64(c.size))
			b.ReportAllocs()
			b.ResetTimer()
			defer reportCPU(b, int64(c.size), cpuTime(b))
			for i := range b.N {
				e := <-free
				offset := int64(i / len(streams))
				binary.BigEndian.PutUint64(e.Data, uint64(offset))
				*e = Entry{Data: e.Data, BaseOffset: offset, LastOffset: offset, Done: e.Done}
				s := streams[i%len(streams)]
				if err := s.Append(b.Context(), e); err != nil {
					b.Fatal(err)
				}
				if i%(1<<12) == 0 {
					s.Trim(offset)
				}
			}
			for range c.inFlight {
				<-free
			}
		})
	}
}

// BenchmarkRead reads 1 MiB at a time from a sealed file that 8 streams share in pieces of 16 KiB.
func BenchmarkRead(b *testing.B) { benchRead(b) }

// BenchmarkReadEncrypted is the same with encryption.
func BenchmarkReadEncrypted(b *testing.B) { benchRead(b) }

func benchRead(b *testing.B) {
	l := openReal(b)
	const entries = 512
	for i := range int64(entries) {
		for p := range 8 {
			if err := l.Stream(partition(p)).Append(b.Context(), entryOf(batchSpec{base: i, size: 16 << 10})); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := appendSync(b, l.Stream(partition(9)), entryOf(batchSpec{})); err != nil {
		b.Fatal(err)
	}
	if err := l.Roll(b.Context()); err != nil {
		b.Fatal(err)
	}
	s := l.Stream(partition(3))
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	b.ResetTimer()
	defer reportCPU(b, 1<<20, cpuTime(b))
	for i := range b.N {
		var chain slab.Chain
		from := int64(i*64) % entries
		if err := s.Read(b.Context(), &chain, from, entries, 1<<20, true); err != nil || chain.Len() != 1<<20 {
			b.Fatal(chain.Len(), err)
		}
		chain.Release()
	}
}
