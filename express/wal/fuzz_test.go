package wal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"millrace/base/slab"
)

// FuzzOpen opens arbitrary bytes as a file, with the checksums on the way made right, so that the fields behind them are
// reached (run it with -fuzzminimizetime 1x; minimizing gains nothing here). Whatever it holds, reading must end without a panic, and what is recovered must be readable.
func FuzzOpen(f *testing.F) {
	f.Add(readGolden(f, "unsealed.wal"))
	f.Add(readGolden(f, "sealed.wal"))
	f.Add(newFileOf(1, 0).bytes)
	f.Add(newFileOf(1, 0).next(1, batchSpec{base: 5, size: 70}).next(2, batchSpec{base: 2, size: 80}).bytes)
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) > 64<<10 {
			return
		}
		mem := withFile(t, "wal/"+fileName(1), mend(content))
		l := newLog(Config{Dir: "wal"}, testWorld(t, mem)) // no goroutines: they would blur the fuzzer's coverage
		defer l.closeFiles()
		if _, err := l.recover(t.Context()); err != nil {
			return
		}
		for _, p := range l.Partitions() {
			s := l.Stream(p)
			first, end := s.Bounds()
			var chain slab.Chain
			if err := s.Read(t.Context(), &chain, first, end, 1<<20, true); err != nil && !errors.Is(err, ErrCorrupt) {
				t.Errorf("read: %v", err)
			}
			chain.Release()
			_, _, _ = s.SeekTime(t.Context(), 5, first)
			_, _ = s.Producers(t.Context())
			s.Trim(end)
		}
	})
}

// mend makes the checksums of the file header, the first group and the trailer right.
func mend(content []byte) []byte {
	b := append([]byte(nil), content...)
	if len(b) < fileHeaderBytes {
		return b
	}
	binary.BigEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	h, err := decodeFileHeader(b)
	if err != nil {
		return b
	}
	if g := b[fileHeaderBytes:]; len(g) >= groupHeaderBytes {
		if n := groupHeaderBytes + int(binary.BigEndian.Uint32(g[12:]))*rowBytes; n <= len(g) {
			binary.BigEndian.PutUint32(g[44:], h.checksum(g[groupHeaderBytes:n]))
		}
		binary.BigEndian.PutUint32(g[60:], h.checksum(g[:60]))
	}
	if len(b) >= fileHeaderBytes+trailerBytes {
		t := b[len(b)-trailerBytes:]
		binary.BigEndian.PutUint32(t[60:], h.checksum(t[:60]))
	}
	return b
}

func FuzzDecodeDirectory(f *testing.F) {
	x := &extent{stream: &Stream{partition: partition(2)}, Extent: Extent{Base: 1, End: 9, Bytes: 5, LastAppend: 4}}
	x.epochs = []EpochStart{{1, 2}}
	one := x.appendTo([]byte{0, 0, 0, 1}, [2]block{{pos: 100, bytes: 5}, {pos: 105}})
	f.Add(one)
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		parts, err := decodeDirectory(b, 100, 1000)
		if err != nil {
			return
		}
		again := binary.BigEndian.AppendUint32(nil, uint32(len(parts)))
		for _, p := range parts {
			p.extent.stream = &Stream{partition: p.partition}
			again = p.extent.appendTo(again, [2]block{p.extent.runsAt, p.extent.producersAt})
		}
		if string(again) != string(b) {
			t.Error("does not survive a round")
		}
	})
}

func FuzzDecodeRuns(f *testing.F) {
	f.Add(appendRuns(nil, []run{{base: 5, last: 9, pos: 200, bytes: 100, batches: 1, maxTimestamp: 9}, {base: 10, last: 10, pos: 300, bytes: 61}}))
	f.Add(appendRuns(nil, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		runs, err := decodeRuns(b, 1<<20)
		if err != nil {
			return
		}
		again, err := decodeRuns(appendRuns(nil, runs), 1<<20)
		if err != nil || len(again) != len(runs) {
			t.Errorf("does not survive a round: %v", err)
		}
	})
}
