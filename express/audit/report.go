package audit

import (
	"context"
	"slices"
	"strings"

	"millrace/base/kv"
	"millrace/express/catalog"
	"millrace/kafka/topic"
)

// BrokerResult is what is known of one broker's audits.
type BrokerResult struct {
	ID     int32   `json:"id"`
	Live   bool    `json:"live"`             // it is registered
	Result *Result `json:"result,omitempty"` // nil: it has said nothing yet
}

// Answer is what is known of the audits of a cluster.
type Answer struct {
	Brokers  []BrokerResult `json:"brokers"`  // those that are live, by id, then others
	Unserved int            `json:"unserved"` // partitions whose broker does not run
}

// Asked reads what the brokers of a cluster said last; those that run and said nothing are among them.
func Asked(ctx context.Context, store kv.KV, prefix string) (Answer, error) {
	results, err := Results(ctx, store, prefix)
	if err != nil {
		return Answer{}, err
	}
	s, err := catalog.Read(ctx, store, prefix+"catalog/")
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{Brokers: []BrokerResult{}}
	for _, id := range s.Brokers {
		answer.Brokers = append(answer.Brokers, BrokerResult{ID: id, Live: true})
	}
	for _, t := range s.Topics {
		for _, p := range t.Partitions {
			if !slices.Contains(s.Brokers, p.Owner) {
				answer.Unserved++
			}
		}
	}
	for _, r := range results {
		if i := slices.Index(s.Brokers, r.Broker); i >= 0 {
			answer.Brokers[i].Result = &r
		} else {
			answer.Brokers = append(answer.Brokers, BrokerResult{ID: r.Broker, Result: &r})
		}
	}
	return answer, nil
}

// Answering is the pass that answers a request, or a later one, and whether it has ended; nil: there is none yet, and of a
// nil Result neither.
func (r *Result) Answering(number int64) (pass *Pass, ended bool) {
	switch {
	case r == nil:
		return nil, false
	case r.Answered >= number && r.Last != nil:
		return r.Last, true
	case r.Now != nil && r.Now.Request >= number:
		return r.Now, false
	}
	return nil, false
}

// StoredRecords is what etcd says of a cluster's partitions.
func StoredRecords(ctx context.Context, store kv.KV, prefix string) (map[topic.Partition]Record, error) {
	s, err := catalog.Read(ctx, store, prefix+"catalog/")
	if err != nil {
		return nil, err
	}
	records := map[topic.Partition]Record{}
	for _, t := range s.Topics {
		for i, p := range t.Partitions {
			records[topic.Partition{Topic: t.ID, Index: int32(i)}] = Record{Topic: t.Name, Owner: p.Owner, Tail: p.Tail}
		}
	}
	return records, nil
}

// Report is the passes of all brokers as one.
type Report struct {
	Clean      bool      `json:"clean"` // everything was looked at, and nothing is wrong
	Partitions int       `json:"partitions"`
	Checked    int       `json:"checked"`
	Moved      int       `json:"moved"`
	Skipped    int       `json:"skipped"`
	Bytes      int64     `json:"bytes"`
	Store      bool      `json:"store"`
	Waiting    int64     `json:"waiting"`
	Total      int       `json:"total"` // findings
	Findings   []Finding `json:"findings"`
	Skips      []Skip    `json:"skips"`
	Silent     []int32   `json:"silent,omitempty"` // brokers that did not answer
	Unserved   int       `json:"unserved"`         // partitions whose broker does not run
}

// Summarize joins passes. Silent and unserved are as in Report.
func Summarize(passes []*Pass, silent []int32, unserved int) Report {
	r := Report{Findings: []Finding{}, Skips: []Skip{}, Silent: silent, Unserved: unserved}
	for _, p := range passes {
		r.Partitions += p.Partitions
		r.Checked += p.Checked
		r.Moved += p.Moved
		r.Skipped += p.Skipped
		r.Bytes += p.Bytes
		r.Store = r.Store || p.Store
		r.Waiting += p.Waiting
		r.Total += p.Total()
		r.Findings = append(r.Findings, p.Findings...)
		r.Skips = append(r.Skips, p.Skips...)
	}
	r.Clean = r.Total == 0 && r.Skipped == r.Moved && len(silent) == 0 && unserved == 0 && len(passes) > 0
	slices.SortStableFunc(r.Findings, func(x, y Finding) int { return strings.Compare(x.Topic, y.Topic) })
	return r
}
