package hostile

import (
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/wire"
)

// served asks the cluster which keys and versions it serves.
func (c *cluster) served(t testing.TB) []kmsg.ApiVersionsResponseApiKey {
	t.Helper()
	request := kmsg.NewPtrApiVersionsRequest()
	request.Version, request.ClientSoftwareName, request.ClientSoftwareVersion = 3, "x", "1"
	response, err := ask[*kmsg.ApiVersionsResponse](c.connect(t), request)
	if err != nil {
		t.Fatal(err)
	}
	return response.ApiKeys
}

// filled returns a request of a key with one element in every array, and an x in every string.
func filled(key, version int16) kmsg.Request {
	request := kmsg.RequestForKey(key)
	fill(reflect.ValueOf(request).Elem())
	request.SetVersion(version)
	return request
}

func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte("x"))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Struct:
		if d, ok := v.Addr().Interface().(interface{ Default() }); ok {
			d.Default()
		}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "UnknownTags" && f.Name != "Version" {
				fill(v.Field(i))
			}
		}
	}
}

// damage returns ways to spoil the body of a request: at every position a count that no bytes bear out, the end, and a byte
// that is something else.
func damage(body []byte) (spoilt [][]byte) {
	for at := range body {
		for _, by := range [][]byte{{0x7f, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff, 0xff, 0x07}, {0xff}, {0x80, 0, 0, 0}} {
			b := append([]byte(nil), body[:at]...)
			b = append(b, by...)
			if after := at + len(by); after < len(body) {
				b = append(b, body[after:]...)
			}
			spoilt = append(spoilt, b)
		}
		spoilt = append(spoilt, body[:at])
	}
	return spoilt
}

// waits tells which keys may leave a client without an answer for long, or for good (acks=0).
func waits(key int16) bool {
	switch kmsg.Key(key) {
	case kmsg.Produce, kmsg.Fetch, kmsg.JoinGroup, kmsg.SyncGroup:
		return true
	}
	return false
}

// unknownElements says that a request whose numbers are all zero is none to Apache Kafka, which closes the connection, and so do we: what it asks for
// does not exist. test/security/acl has their values one by one.
func unknownElements(key kmsg.Key) bool {
	return key == kmsg.DescribeACLs || key == kmsg.CreateACLs || key == kmsg.DeleteACLs
}

// judge sends one request on a connection of its own: it has to be answered with something that is an answer to it, or the
// connection closed.
func (c *cluster) judge(t testing.TB, key, version int16, body []byte) error {
	p := c.connect(t)
	defer p.conn.Close()
	p.send(frame(key, version, body))
	limit := patience
	if waits(key) {
		limit = 100 * time.Millisecond
	}
	reply, err := p.read(limit)
	switch {
	case errors.Is(err, errClosed), errors.Is(err, errSilent) && waits(key):
		return nil
	case err != nil:
		return err
	}
	_, err = decode(key, version, reply)
	return err
}

// answersAll sends a whole request of every key and version, which must be answered.
func answersAll(t *testing.T, c *cluster) {
	for _, api := range c.served(t) {
		for version := api.MinVersion; version <= api.MaxVersion; version++ {
			if key := kmsg.Key(api.ApiKey); key == kmsg.Produce && version < wire.ProduceMin || waits(api.ApiKey) || key == kmsg.ApiVersions || unknownElements(key) {
				continue
			}
			p := c.connect(t)
			p.send(frame(api.ApiKey, version, filled(api.ApiKey, version).AppendTo(nil)))
			reply, err := p.read(patience)
			if err == nil {
				_, err = decode(api.ApiKey, version, reply)
			}
			if err != nil {
				t.Errorf("%s version %d: %v", kmsg.NameForKey(api.ApiKey), version, err)
			}
			p.conn.Close()
		}
	}
}

// survivesDamage sends requests of every key, spoilt in every place.
func survivesDamage(t *testing.T, c *cluster) {
	const atOnce = 64
	slots := make(chan struct{}, atOnce)
	var sent sync.WaitGroup
	total := 0
	for _, api := range c.served(t) {
		for _, version := range versionsOf(api) {
			for _, body := range damage(filled(api.ApiKey, version).AppendTo(nil)) {
				total++
				slots <- struct{}{}
				sent.Go(func() {
					defer func() { <-slots }()
					if err := c.judge(t, api.ApiKey, version, body); err != nil {
						t.Errorf("%s version %d %x: %v", kmsg.NameForKey(api.ApiKey), version, body, err)
					}
				})
			}
		}
	}
	sent.Wait()
	t.Logf("%d damaged requests", total)
}

// versionsOf picks the versions whose encoding differs most: the first, and the last.
func versionsOf(api kmsg.ApiVersionsResponseApiKey) []int16 {
	if api.MinVersion == api.MaxVersion {
		return []int16{api.MinVersion}
	}
	return []int16{api.MinVersion, api.MaxVersion}
}

func TestDamagedRequests(t *testing.T) {
	c := startMillrace(t)
	c.unharmed(func() {
		t.Run("whole", func(t *testing.T) { answersAll(t, c) })
		began := time.Now()
		t.Run("damaged", func(t *testing.T) { survivesDamage(t, c) })
		// Bad input must not fill the disk with complaints: one line in a second, and one for the second before.
		most := int(time.Since(began)/time.Second) + 2
		if lines := c.count("bad input or refusal"); lines < 1 || lines > most {
			t.Errorf("%d lines about bad input, want at least 1 and at most %d", lines, most)
		}
	})
}
