package slab

import (
	"sync"
	"testing"
)

func newPool(t testing.TB, cfg Config) *Pool {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestGetHasTheLengthAskedFor(t *testing.T) {
	p := newPool(t, Config{})
	for _, n := range []int{0, 1, 511, 512, 513, 65536, 65537, 65536 + slack, 1 << 20, 1<<20 + 100, 8 << 20, 8<<20 + slack, 8<<20 + slack + 1, 20 << 20} {
		s := p.Get(n)
		if b := s.Bytes(); len(b) != n || cap(b) != n {
			t.Errorf("Get(%d) has len %d, cap %d", n, len(b), cap(b))
		}
		if waste := len(s.buf) - n; n > 512 && waste > n+slack {
			t.Errorf("Get(%d) wastes %d bytes", n, waste)
		}
		s.Release()
	}
	if got := p.Stats().LentBytes; got != 0 {
		t.Errorf("lent %d bytes after all were released", got)
	}
}

func TestPowerOfTwoPlusHeaderStaysInItsClass(t *testing.T) {
	p := newPool(t, Config{})
	s := p.Get(1<<20 + 120)
	if len(s.buf) != 1<<20+slack {
		t.Errorf("a 1 MiB batch with its header took %d bytes", len(s.buf))
	}
}

func TestReuse(t *testing.T) {
	p := newPool(t, Config{})
	p.Get(1000).Release()
	allocs := testing.AllocsPerRun(100, func() { p.Get(900).Release() })
	if allocs != 0 {
		t.Errorf("%v allocations per Get and Release", allocs)
	}
}

func TestRetainedBytesAreBounded(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  Config
		size int
		want int64
	}{
		{"per class", Config{RetainPerClass: 4 << 10}, 1024, 4 << 10},
		{"in all", Config{RetainBytes: 2 << 10}, 1024, 2 << 10},
		{"none", Config{RetainBytes: -1}, 1024, 0},
		{"none per class", Config{RetainPerClass: -1}, 1024, 0},
		{"larger than every class", Config{MaxClassBytes: 1024}, 5000, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPool(t, tc.cfg)
			var held []*Slab
			for range 20 {
				held = append(held, p.Get(tc.size))
			}
			for _, s := range held {
				s.Release()
			}
			if got := p.Stats(); got.RetainedBytes != tc.want || got.LentBytes != 0 {
				t.Errorf("stats %+v, want %d retained and none lent", got, tc.want)
			}
		})
	}
}

func TestSecondReleasePanics(t *testing.T) {
	p := newPool(t, Config{})
	s := p.Get(10)
	s.Release()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	s.Release()
}

func TestPoison(t *testing.T) {
	p := newPool(t, Config{Poison: true})
	s := p.Get(4)
	b := s.Bytes()
	copy(b, "abcd")
	s.Release()
	if b[0] != poison || b[3] != poison {
		t.Errorf("released bytes still read %q", b)
	}
}

func TestConfigFaults(t *testing.T) {
	for _, c := range []Config{{MaxClassBytes: 100}, {MaxClassBytes: 2 << 30}, {MaxClassBytes: -5}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v accepted", c)
		}
	}
}

func TestOwnersNeverShare(t *testing.T) {
	p := newPool(t, Config{RetainPerClass: 8 << 10})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				s := p.Get(600 + (i*37)%3000)
				b := s.Bytes()
				for j := range b {
					b[j] = byte(g)
				}
				for j := range b {
					if b[j] != byte(g) {
						t.Errorf("goroutine %d reads %d", g, b[j])
						return
					}
				}
				s.Release()
			}
		})
	}
	wg.Wait()
	if st := p.Stats(); st.LentBytes != 0 || st.RetainedBytes < 0 || st.RetainedBytes > 32<<20 {
		t.Errorf("stats %+v", st)
	}
}

func TestChainReleasesAllItHolds(t *testing.T) {
	p := newPool(t, Config{})
	var a, b Chain
	for _, c := range []*Chain{&a, &b} {
		s := p.Get(100)
		c.Hold(s)
		c.Append(s.Bytes()[:60])
		c.Append(nil)
	}
	a.Join(&b)
	if a.Len() != 120 || len(a.Parts()) != 2 || b.Len() != 0 || len(b.Parts()) != 0 {
		t.Errorf("joined %d bytes in %d parts, %d left", a.Len(), len(a.Parts()), b.Len())
	}
	b.Release()
	if p.Stats().LentBytes == 0 {
		t.Error("the emptied chain released what it gave away")
	}
	a.Release()
	a.Release()
	if got := p.Stats().LentBytes; got != 0 || a.Len() != 0 {
		t.Errorf("%d bytes lent after the release", got)
	}
}

func BenchmarkGetRelease64K(b *testing.B) {
	p := newPool(b, Config{})
	b.ReportAllocs()
	for b.Loop() {
		p.Get(64 << 10).Release()
	}
}
