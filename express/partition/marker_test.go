package partition_test

import (
	"fmt"
	"math"
	"testing"

	"millrace/express/partition"
	"millrace/express/producer"
	"millrace/kafka/record"
)

// A marker's epoch may not be below its producer's, and with the second kind of transactions not even equal, unless nothing is
// open: then it is one that comes again. Where both epochs are too low the producer's counts.
func TestMarkerEpochs(t *testing.T) {
	const id, coordinator = 7, 5
	for _, c := range []struct {
		current, epoch int16
		open           bool
		version        int16
		coordinator    int32
		want           error
	}{
		{3, 2, true, 0, coordinator, producer.ErrInvalidEpoch},
		{3, 3, true, 0, coordinator, nil},
		{3, 3, true, 1, coordinator, nil},
		{3, 3, true, 2, coordinator, producer.ErrInvalidEpoch},
		{3, 3, true, 3, coordinator, producer.ErrInvalidEpoch},
		{3, 4, true, 2, coordinator, nil},
		{3, 3, false, 2, coordinator, nil},
		{3, 2, false, 2, coordinator, producer.ErrInvalidEpoch},
		{math.MaxInt16, math.MaxInt16, true, 2, coordinator, nil},
		{3, 3, true, 0, coordinator - 1, partition.ErrCoordinatorFenced},
		{3, 4, false, 2, coordinator - 1, partition.ErrCoordinatorFenced},
		{3, 2, true, 0, coordinator - 1, producer.ErrInvalidEpoch},
		{3, 3, true, 2, coordinator - 1, producer.ErrInvalidEpoch},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			e := newEnv(t, nil)
			begin := func(sequence int32) {
				b := record.NewBuilder(record.Options{Transactional: true, Producer: &record.Producer{ID: id, Epoch: c.current, Sequence: sequence}})
				must(t, b.Add(1, []byte("k"), []byte("v")))
				built, err := b.Build(nil)
				must(t, err)
				must(t, e.putTxn(built).Err)
			}
			begin(0)
			must(t, e.markVersion(record.Marker{ProducerID: id, ProducerEpoch: c.current, CoordinatorEpoch: coordinator}, 1).Err)
			if c.open {
				begin(1)
			}
			before := e.p.Offsets()
			a := e.markVersion(record.Marker{ProducerID: id, ProducerEpoch: c.epoch, CoordinatorEpoch: c.coordinator, Commit: true}, c.version)
			if c.want == nil {
				must(t, a.Err)
				if o := e.p.Offsets(); o.LSO != o.HW || o.HW != before.HW+1 {
					t.Errorf("offsets %+v after the marker", o)
				}
				return
			}
			wantErr(t, a.Err, c.want)
			if after := e.p.Offsets(); after != before || a.BaseOffset != -1 {
				t.Errorf("a refused marker left %+v, before %+v", after, before)
			}
		})
	}
}

// A producer that nothing is known of has no epoch to be above of.
func TestMarkerOfUnknownProducer(t *testing.T) {
	e := newEnv(t, nil)
	must(t, e.markVersion(record.Marker{ProducerID: 9, ProducerEpoch: 0}, 2).Err)
}
