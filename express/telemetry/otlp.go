package telemetry

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// errMalformed: the push is no MetricsData of OpenTelemetry.
var errMalformed = errors.New("telemetry: malformed metrics")

// point is one number of a push. Everything in it lies in the push.
type point struct {
	name  []byte
	delta bool // to be added to what was there
	value float64

	resource, attrs []byte // messages whose field of attributes is resourceAttr, pointAttr
}

// Numbers of fields in the messages of OpenTelemetry's metrics.proto, by message.
const (
	dataResourceMetrics protowire.Number = 1

	rmResource protowire.Number = 1
	rmScope    protowire.Number = 2

	resourceAttr protowire.Number = 1

	scopeMetric protowire.Number = 2

	metricName  protowire.Number = 1
	metricGauge protowire.Number = 5
	metricSum   protowire.Number = 7

	gaugePoint     protowire.Number = 1
	sumTemporality protowire.Number = 2

	pointDouble protowire.Number = 4
	pointInt    protowire.Number = 6
	pointAttr   protowire.Number = 7

	keyValueKey   protowire.Number = 1
	keyValueValue protowire.Number = 2

	anyString protowire.Number = 1
	anyBool   protowire.Number = 2
	anyInt    protowire.Number = 3
	anyDouble protowire.Number = 4
)

const temporalityDelta = 1

// field is one field of a message: its bytes, or its number for the types that have one.
type field struct {
	num   protowire.Number
	kind  protowire.Type
	bytes []byte
	bits  uint64
}

// fields calls visit for each field of a message, in order. Groups are refused: nothing here has them.
func fields(message []byte, visit func(field) error) error {
	for len(message) > 0 {
		num, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return errMalformed
		}
		message = message[n:]
		f := field{num: num, kind: kind}
		switch kind {
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			f.bits, n = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			f.bits, n = protowire.ConsumeFixed64(message)
		case protowire.Fixed32Type:
			_, n = protowire.ConsumeFixed32(message)
		default:
			return errMalformed
		}
		if n < 0 {
			return errMalformed
		}
		message = message[n:]
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

// message reports whether f is a message in the field num.
func (f field) message(num protowire.Number) bool {
	return f.num == num && f.kind == protowire.BytesType
}

// last returns the last message in the field num, as the rules of protobuf have it for a field that comes once.
func last(message []byte, num protowire.Number) (found []byte, err error) {
	err = fields(message, func(f field) error {
		if f.message(num) {
			found = f.bytes
		}
		return nil
	})
	return found, err
}

// decode calls visit for each number of a push. Kinds of metrics that Kafka's clients do not send, such as histograms, are passed
// over. The error matches errMalformed.
func decode(push []byte, visit func(point)) error {
	err := fields(push, func(f field) error {
		if !f.message(dataResourceMetrics) {
			return nil
		}
		return decodeResource(f.bytes, visit)
	})
	if err != nil {
		return fmt.Errorf("decode push of %d bytes: %w", len(push), err)
	}
	return nil
}

func decodeResource(message []byte, visit func(point)) error {
	resource, err := last(message, rmResource)
	if err != nil {
		return err
	}
	return fields(message, func(f field) error {
		if !f.message(rmScope) {
			return nil
		}
		return fields(f.bytes, func(f field) error {
			if !f.message(scopeMetric) {
				return nil
			}
			return decodeMetric(f.bytes, point{resource: resource}, visit)
		})
	})
}

func decodeMetric(message []byte, p point, visit func(point)) (err error) {
	if p.name, err = last(message, metricName); err != nil {
		return err
	}
	return fields(message, func(f field) error {
		switch {
		case f.message(metricGauge):
			return decodePoints(f.bytes, p, visit)
		case f.message(metricSum):
			sum := p
			err := fields(f.bytes, func(f field) error {
				if f.num == sumTemporality && f.kind == protowire.VarintType {
					sum.delta = f.bits == temporalityDelta
				}
				return nil
			})
			if err != nil {
				return err
			}
			return decodePoints(f.bytes, sum, visit)
		}
		return nil
	})
}

// decodePoints reads the points of a gauge or a sum; they lie in the same field.
func decodePoints(message []byte, p point, visit func(point)) error {
	return fields(message, func(f field) error {
		if !f.message(gaugePoint) {
			return nil
		}
		p := p
		p.attrs = f.bytes
		valued := false
		err := fields(f.bytes, func(f field) error {
			switch {
			case f.num == pointDouble && f.kind == protowire.Fixed64Type:
				p.value, valued = math.Float64frombits(f.bits), true
			case f.num == pointInt && f.kind == protowire.Fixed64Type:
				p.value, valued = float64(int64(f.bits)), true
			}
			return nil
		})
		if err == nil && valued {
			visit(p)
		}
		return err
	})
}

// eachAttr calls visit for the attributes of a message, with the value as text; lists and other values that are not plain are left out.
func eachAttr(message []byte, num protowire.Number, visit func(key, value []byte)) {
	_ = fields(message, func(f field) error { // what is malformed shows here; the rest is as good as it was
		if !f.message(num) {
			return nil
		}
		var key, value []byte
		plain := false
		err := fields(f.bytes, func(f field) error {
			switch {
			case f.message(keyValueKey):
				key = f.bytes
			case f.message(keyValueValue):
				value, plain = plainText(f.bytes)
			}
			return nil
		})
		if err == nil && plain && len(key) > 0 {
			visit(key, value)
		}
		return nil
	})
}
