package transaction

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// Describe answers for one id what DescribeTransactions asks.
func (m *Machine) Describe(id string) kmsg.DescribeTransactionsResponseTransactionState {
	d := kmsg.NewDescribeTransactionsResponseTransactionState()
	d.TransactionalID = id
	e := m.entries[id]
	switch {
	case id == "":
		d.ErrorCode = int16(kerr.InvalidRequest)
	case e == nil || !e.logged:
		d.ErrorCode = int16(kerr.TransactionalIDNotFound)
	default:
		d.State, d.TimeoutMillis, d.StartTimestamp = e.state.String(), e.timeoutMs, e.startMs
		d.ProducerID, d.ProducerEpoch = e.producer.ID, e.producer.Epoch
		for _, tp := range e.partitions {
			last := len(d.Topics) - 1
			if last < 0 || d.Topics[last].Topic != tp.Topic {
				d.Topics = append(d.Topics, kmsg.DescribeTransactionsResponseTransactionStateTopic{Topic: tp.Topic})
				last++
			}
			d.Topics[last].Partitions = append(d.Topics[last].Partitions, tp.Partition)
		}
	}
	return d
}

// Filter chooses among transactional ids; the zero value takes those whose transaction began before now.
type Filter struct {
	States      []State // nil: all. An empty list takes none
	ProducerIDs []int64 // nil: all
	LongerThan  int64   // milliseconds since the transaction began, or since 1970 if there was none; negative: all
	Pattern     *regexp.Regexp
}

// NewFilter reads what ListTransactions asks for. Names of states that do not exist are returned. An error says what is wrong
// with the pattern, which is an RE2 that must match the whole id.
func NewFilter(req *kmsg.ListTransactionsRequest) (f Filter, unknown []string, err error) {
	f.LongerThan = req.DurationFilterMillis
	if len(req.ProducerIDFilters) > 0 {
		f.ProducerIDs = req.ProducerIDFilters
	}
	for _, name := range req.StateFilters {
		if f.States == nil {
			f.States = []State{}
		}
		if i := slices.Index(stateNames[:], name); i >= 0 {
			f.States = append(f.States, State(i))
		} else {
			unknown = append(unknown, name)
		}
	}
	if p := req.TransactionalIDPattern; p != nil && *p != "" {
		if _, err := regexp.Compile(*p); err != nil {
			return Filter{}, nil, fmt.Errorf("pattern: %w", err)
		}
		f.Pattern, err = regexp.Compile(`\A(?:` + *p + `)\z`)
	}
	return f, unknown, err
}

// List lists the ids that pass a filter, in order.
func (m *Machine) List(now time.Time, f Filter) []kmsg.ListTransactionsResponseTransactionState {
	var out []kmsg.ListTransactionsResponseTransactionState
	for _, e := range m.sorted(m.entries) {
		switch {
		case !e.logged,
			f.ProducerIDs != nil && !slices.Contains(f.ProducerIDs, e.producer.ID),
			f.States != nil && !slices.Contains(f.States, e.state),
			f.LongerThan >= 0 && now.UnixMilli()-e.startMs <= f.LongerThan,
			f.Pattern != nil && !f.Pattern.MatchString(e.id):
			continue
		}
		s := kmsg.NewListTransactionsResponseTransactionState()
		s.TransactionalID, s.ProducerID, s.TransactionState = e.id, e.producer.ID, e.state.String()
		out = append(out, s)
	}
	return out
}

// Expire deletes the ids that have no transaction and that nobody used for Limits.Expiration.
func (m *Machine) Expire(now time.Time) machine.Effects {
	m.now = now
	before := now.Add(-m.limits.Expiration).UnixMilli()
	for _, e := range m.sorted(m.entries) {
		if e.pending || !e.logged || e.state == Ongoing || e.state.prepared() || e.updateMs > before {
			continue
		}
		e.pending = true
		m.log(tombstone(e.id), func(code kerr.Code) {
			e.pending = false
			if code == kerr.None {
				m.remove(e)
			}
			m.resume(e)
		})
	}
	return m.take()
}
