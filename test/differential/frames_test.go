package differential

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/wire"
)

// frameScripts lists the scripts about requests that are not as the protocol wants them.
func frameScripts() []script {
	return []script{
		{name: "frames/versions", run: unknownVersions},
		{name: "frames/bodies", run: brokenBodies},
		{name: "frames/sizes", run: brokenSizes},
	}
}

// raw sends a frame as it is and takes down whether an answer came, and what of an error code it begins with.
func (r *run) raw(label string, key, version int16, frame []byte) {
	a := answer{script: r.script, label: r.unique(label, key, version), key: key, version: version, outcome: "answered"}
	p := r.peer("raw")
	p.close()
	body, err := p.raw(frame)
	if err != nil {
		a.outcome = err.Error()
	} else {
		a.fields = []field{{"Body.len", fmt.Sprint(min(len(body), 8))}}
	}
	r.answers = append(r.answers, a)
}

// framed makes a frame with the next correlation id of the raw connection.
func (r *run) framed(key, version int16, body []byte) []byte {
	p := r.peer("raw")
	p.correlation++
	b := make([]byte, wire.SizeBytes)
	b = wire.AppendHeader(b, wire.RequestHeader{Key: key, Version: version, CorrelationID: p.correlation, ClientID: "raw"})
	b = append(b, body...)
	wire.PutFrameSize(b, len(b)-wire.SizeBytes)
	return b
}

// unknownVersions asks for versions and keys that there are not.
func unknownVersions(r *run) {
	for key := int16(-1); key < 100; key++ {
		bounds, ok := r.plan.versions[key]
		versions := []int16{0, 1}
		if ok {
			versions = []int16{-1, bounds[0] - 1, bounds[1] + 1, 32767}
		}
		for _, v := range versions {
			if key == wire.KeyAPIVersions {
				continue
			}
			r.raw(fmt.Sprint("unknown version of key ", key), key, v, r.framed(key, v, make([]byte, 8)))
		}
	}
	for _, v := range []int16{5, 6, 99, 32767, -1} {
		q := kmsg.NewPtrApiVersionsRequest()
		q.ClientSoftwareName, q.ClientSoftwareVersion = "differential", "1"
		q.Version = 3
		p := r.peer("raw")
		p.close()
		a := answer{script: r.script, label: fmt.Sprint("ApiVersions at ", v), key: wire.KeyAPIVersions, version: v, outcome: "answered"}
		body, err := p.raw(r.framed(wire.KeyAPIVersions, v, q.AppendTo(nil)))
		response := kmsg.NewPtrApiVersionsResponse()
		switch {
		case err != nil:
			a.outcome = err.Error()
		case response.ReadFrom(body) != nil:
			a.outcome = errMalformed.Error()
		default:
			a.fields = r.symbols.flatten(response)
		}
		r.answers = append(r.answers, a)
	}
}

// brokenBodies cuts the plain request of every kind short, and makes it longer.
func brokenBodies(r *run) {
	for _, s := range singles() {
		versions := r.plan.of(s.key, s.low)
		if len(versions) == 0 {
			continue
		}
		for _, v := range []int16{versions[0], versions[len(versions)-1]} {
			if !r.plan.common(int16(s.key), v) || s.key == kmsg.Produce && v < 3 {
				continue
			}
			var q kmsg.Request
			r.quietly(func() { q = s.request(r, fmt.Sprint("broken-", s.name, v)) })
			q.SetVersion(v)
			body := q.AppendTo(nil)
			if len(body) > 0 {
				r.raw(s.name+" cut by one", int16(s.key), v, r.framed(int16(s.key), v, body[:len(body)-1]))
				r.raw(s.name+" cut in the middle", int16(s.key), v, r.framed(int16(s.key), v, body[:len(body)/2]))
				r.raw(s.name+" without a body", int16(s.key), v, r.framed(int16(s.key), v, nil))
			}
			noise := make([]byte, 40)
			for i := range noise {
				noise[i] = 0xff
			}
			r.raw(s.name+" noise", int16(s.key), v, r.framed(int16(s.key), v, noise))
		}
	}
}

// brokenSizes sends frames whose sizes are wrong.
func brokenSizes(r *run) {
	for _, size := range []int32{-1, -1 << 31, 0, 1, 4, 8, 104857601, 1<<31 - 1} {
		frame := r.framed(3, 9, []byte{1, 0, 0, 0})
		binary.BigEndian.PutUint32(frame, uint32(size))
		if size >= 0 && int(size) < len(frame) {
			frame = frame[:wire.SizeBytes+int(size)]
		}
		r.raw(fmt.Sprint("size ", size), 3, 9, frame)
	}
}
