package ecosystem

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// expected is what the application has to make of a load.
type expected struct {
	counts map[string]int    // how often each word was written
	words  int               // all of them
	pairs  map[string]string // each pair of the join, as its value, with its key
}

// expect computes what comes out of so many steps.
func expect(steps int) expected {
	e := expected{counts: make(map[string]int), pairs: make(map[string]string)}
	const reach = int(joinWindow / stepEvery)
	for number := range steps {
		s := stepOf(number)
		for _, line := range s.lines {
			for word := range strings.FieldsSeq(line) {
				e.counts[word]++
				e.words++
			}
		}
		for other := max(0, number-reach); other <= min(steps-1, number+reach); other++ {
			if stepOf(other).right == s.left {
				e.pairs[fmt.Sprintf("a%d+b%d", number, other)] = fmt.Sprint("k", s.left)
			}
		}
	}
	return e
}

// checkCounts returns what is wrong with the output of the word count: each word's counts are 1, 2, 3 and so on, each once and
// in this order, in one partition.
func (e expected) checkCounts(records []*kgo.Record) (wrong []string) {
	last := make(map[string]int)
	home := make(map[string]int32)
	for _, one := range records {
		word := string(one.Key)
		count, err := strconv.Atoi(string(one.Value))
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("count %q of %q: %v", one.Value, word, err))
			continue
		}
		switch {
		case count == last[word]+1:
		case count <= last[word]:
			wrong = append(wrong, fmt.Sprintf("%q: count %d twice, at offset %d behind %d", word, count, one.Offset, last[word]))
		default:
			wrong = append(wrong, fmt.Sprintf("%q: count %d lost, at offset %d comes %d", word, last[word]+1, one.Offset, count))
		}
		last[word] = count
		if partition, known := home[word]; known && partition != one.Partition {
			wrong = append(wrong, fmt.Sprintf("%q is in partitions %d and %d", word, partition, one.Partition))
		}
		home[word] = one.Partition
	}
	for word, count := range e.counts {
		if last[word] != count {
			wrong = append(wrong, fmt.Sprintf("%q ends at count %d, want %d", word, last[word], count))
		}
	}
	for word := range last {
		if e.counts[word] == 0 {
			wrong = append(wrong, fmt.Sprintf("%q was never written", word))
		}
	}
	return wrong
}

// checkPairs returns what is wrong with the output of the join: each pair is there once.
func (e expected) checkPairs(records []*kgo.Record) (wrong []string) {
	seen := make(map[string]bool)
	for _, one := range records {
		pair := string(one.Value)
		switch {
		case e.pairs[pair] != string(one.Key):
			wrong = append(wrong, fmt.Sprintf("pair %s of %s at offset %d should not be", pair, one.Key, one.Offset))
		case seen[pair]:
			wrong = append(wrong, fmt.Sprintf("pair %s twice, again at offset %d", pair, one.Offset))
		}
		seen[pair] = true
	}
	for pair := range e.pairs {
		if !seen[pair] {
			wrong = append(wrong, fmt.Sprintf("pair %s is lost", pair))
		}
	}
	return wrong
}

// checkChangelog returns what is wrong with the changelog of the counts: the last value of each word is its count, as 8 bytes.
func (e expected) checkChangelog(records []*kgo.Record) (wrong []string) {
	last := make(map[string]int)
	for _, one := range records {
		const bytesOfLong = 8
		if len(one.Value) < bytesOfLong {
			wrong = append(wrong, fmt.Sprintf("value %x of %q is no count", one.Value, one.Key))
			continue
		}
		// A store that keeps timestamps writes them to the changelog as the record's; the value is the count alone.
		last[string(one.Key)] = int(binary.BigEndian.Uint64(one.Value[len(one.Value)-bytesOfLong:]))
	}
	for word, count := range e.counts {
		if last[word] != count {
			wrong = append(wrong, fmt.Sprintf("%q is stored with count %d, want %d", word, last[word], count))
		}
	}
	return wrong
}

// report fails the test with what is wrong, if anything is.
func report(t *testing.T, what string, wrong []string) {
	t.Helper()
	const shown = 10
	for _, one := range wrong[:min(shown, len(wrong))] {
		t.Errorf("%s: %s", what, one)
	}
	if len(wrong) > shown {
		t.Errorf("%s: and %d faults more", what, len(wrong)-shown)
	}
}

// contents returns keys and values, sorted: the same for two runs whose records came in another order.
func contents(records []*kgo.Record) []string {
	var all []string
	for _, one := range records {
		all = append(all, string(one.Key)+"="+string(one.Value))
	}
	slices.Sort(all)
	return all
}

// TestExpectSeesFaults shows that what a good application writes passes, and that each fault that exactly once forbids is seen
// wherever it is.
func TestExpectSeesFaults(t *testing.T) {
	const steps = 120
	e := expect(steps)
	counts, pairs := goodOutput(e, steps)
	if wrong := slices.Concat(e.checkCounts(counts), e.checkPairs(pairs)); len(wrong) > 0 || len(pairs) == 0 {
		t.Fatalf("good output, %d pairs: %v", len(pairs), wrong)
	}
	for _, topic := range []struct {
		name  string
		good  []*kgo.Record
		check func([]*kgo.Record) []string
	}{{"counts", counts, e.checkCounts}, {"pairs", pairs, e.checkPairs}} {
		for at := range topic.good {
			one := topic.good[at]
			foreign := &kgo.Record{Key: one.Key, Value: append(slices.Clone(one.Value), '0')}
			for fault, bad := range map[string][]*kgo.Record{
				"lost":             slices.Delete(slices.Clone(topic.good), at, at+1),
				"twice":            slices.Insert(slices.Clone(topic.good), at, one),
				"twice, far apart": append(slices.Clone(topic.good), one),
				"from an aborted":  slices.Insert(slices.Clone(topic.good), at, foreign),
			} {
				if len(topic.check(bad)) == 0 {
					t.Errorf("%s: record %d of %d %s: not seen", topic.name, at, len(topic.good), fault)
				}
			}
		}
	}
}

// goodOutput is what the application writes.
func goodOutput(e expected, steps int) (counts, pairs []*kgo.Record) {
	seen := make(map[string]int)
	for number := range steps {
		for _, line := range stepOf(number).lines {
			for word := range strings.FieldsSeq(line) {
				seen[word]++
				counts = append(counts, &kgo.Record{Key: []byte(word), Value: []byte(strconv.Itoa(seen[word]))})
			}
		}
	}
	for pair, key := range e.pairs {
		pairs = append(pairs, &kgo.Record{Key: []byte(key), Value: []byte(pair)})
	}
	return counts, pairs
}
