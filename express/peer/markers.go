package peer

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// markersVersion is the version of WriteTxnMarkers that is sent.
const markersVersion = 2

// markersPatience is how often Config.Timeout a request with markers may take. A marker that is carried out after it was asked for
// again, and after the next transaction of its producer has begun, would end that one: so nobody gives up early here. A broker that
// hangs for so long was ended by its agent long before.
const markersPatience = 3

// marking is one marker for one partition.
type marking struct {
	tp     machine.TopicPartition
	marker machine.Marker
	done   func(err error)
}

// WriteMarker asks the owner of a partition to append a marker, and returns at once. done is called exactly once, from any goroutine,
// maybe before WriteMarker returns, and must not block: nil says that the marker is durable, a kerr.Code what the broker said. It may
// be asked for again after an error: a marker that is there already ends nothing.
func (p *Pool) WriteMarker(broker int32, tp machine.TopicPartition, m machine.Marker, done func(err error)) {
	enter(p, p.markers, markingKind(), broker, &marking{tp: tp, marker: m, done: done})
}

func markingKind() *kind[*marking] {
	return &kind[*marking]{
		name: "markers", most: 2000, patience: markersPatience, ask: askMarkers, answered: markersAnswered,
		fail: func(c *marking, err error) { c.done(err) },
	}
}

// groups calls f for each run of calls that lie side by side and are alike.
func groups[C any](calls []C, alike func(a, b C) bool, f func(run []C)) {
	for len(calls) > 0 {
		n := 1
		for n < len(calls) && alike(calls[0], calls[n]) {
			n++
		}
		f(calls[:n])
		calls = calls[n:]
	}
}

func sameMarker(a, b *marking) bool { return a.marker == b.marker }

func sameTopic(a, b *marking) bool { return a.tp.Topic == b.tp.Topic }

func askMarkers(calls []*marking) request {
	q := kmsg.NewPtrWriteTxnMarkersRequest()
	q.Version = markersVersion
	groups(calls, sameMarker, func(run []*marking) {
		m := kmsg.NewWriteTxnMarkersRequestMarker()
		m.ProducerID, m.ProducerEpoch, m.Committed = run[0].marker.ID, run[0].marker.Epoch, run[0].marker.Commit
		m.CoordinatorEpoch, m.TransactionVersion = run[0].marker.CoordinatorEpoch, int8(run[0].marker.TransactionVersion)
		groups(run, sameTopic, func(run []*marking) {
			t := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
			t.Topic = run[0].tp.Topic
			for _, c := range run {
				t.Partitions = append(t.Partitions, c.tp.Partition)
			}
			m.Topics = append(m.Topics, t)
		})
		q.Markers = append(q.Markers, m)
	})
	return q
}

func markersAnswered(calls []*marking, answer response) error {
	r, ok := answer.(*kmsg.WriteTxnMarkersResponse)
	if !ok {
		return errAnswer
	}
	codes := make([]kerr.Code, 0, len(calls))
	for _, m := range r.Markers {
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				n := len(codes)
				if n == len(calls) || calls[n].marker.ID != m.ProducerID || calls[n].tp != (machine.TopicPartition{Topic: t.Topic, Partition: p.Partition}) {
					return fmt.Errorf("%w: markers that were not asked for", errAnswer)
				}
				codes = append(codes, kerr.Code(p.ErrorCode))
			}
		}
	}
	if len(codes) != len(calls) {
		return fmt.Errorf("%w: %d of %d markers", errAnswer, len(codes), len(calls))
	}
	for i, c := range calls {
		c.done(codeError(codes[i]))
	}
	return nil
}

// codeError is a code as an error; nil for none.
func codeError(code kerr.Code) error {
	if code == kerr.None {
		return nil
	}
	return code
}
