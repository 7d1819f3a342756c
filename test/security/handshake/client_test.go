package handshake

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/xdg-go/scram"

	"millrace/kafka/wire"
	"millrace/secure/identity"
)

// client speaks by hand, and writes down what comes back.
type client struct {
	t    *testing.T
	nc   net.Conn
	next int32
	said []string
}

var errClosed = errors.New("closed")

func (c *client) say(what string, err error, more ...any) {
	line := what
	if err != nil {
		line += ": " + err.Error()
	}
	for _, m := range more {
		line += fmt.Sprintf(" %v", m)
	}
	c.said = append(c.said, line)
}

func (c *client) frame(b []byte) ([]byte, error) {
	if _, err := c.nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
		return nil, errClosed
	}
	var size [4]byte
	if _, err := io.ReadFull(c.nc, size[:]); err != nil {
		return nil, errClosed
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c.nc, frame); err != nil {
		return nil, errClosed
	}
	return frame, nil
}

// ask returns the body of the answer.
func (c *client) ask(version int16, q kmsg.Request) ([]byte, error) {
	q.SetVersion(min(version, q.MaxVersion()))
	c.next++
	frame, err := c.frame(q.AppendTo(wire.AppendHeader(nil, wire.RequestHeader{Key: q.Key(), Version: version, CorrelationID: c.next, ClientID: "test"})))
	if err != nil {
		return nil, err
	}
	if got := int32(binary.BigEndian.Uint32(frame)); got != c.next {
		return nil, fmt.Errorf("reply %d to request %d", got, c.next)
	}
	return frame[len(wire.AppendResponseHeader(nil, q.Key(), version, 0)):], nil
}

func (c *client) apiVersions(version int16) {
	q := kmsg.NewPtrApiVersionsRequest()
	q.ClientSoftwareName, q.ClientSoftwareVersion = "test", "1"
	body, err := c.ask(version, q)
	if err != nil {
		c.say("api versions", err)
		return
	}
	c.say("api versions", nil, binary.BigEndian.Uint16(body))
}

func (c *client) handshake(version int16, m identity.Mechanism) bool {
	q := kmsg.NewPtrSASLHandshakeRequest()
	q.Mechanism = string(m)
	body, err := c.ask(version, q)
	if err != nil {
		c.say("handshake", err)
		return false
	}
	resp := q.ResponseKind().(*kmsg.SASLHandshakeResponse)
	resp.SetVersion(version)
	if err := resp.ReadFrom(body); err != nil {
		c.say("handshake", err)
		return false
	}
	slices.Sort(resp.SupportedMechanisms)
	c.say("handshake", nil, resp.ErrorCode, resp.SupportedMechanisms)
	return resp.ErrorCode == 0
}

// authenticate sends a message with a header, and returns the answer if it is no error.
func (c *client) authenticate(version int16, message []byte) (string, bool) {
	q := kmsg.NewPtrSASLAuthenticateRequest()
	q.SASLAuthBytes = message
	body, err := c.ask(version, q)
	if err != nil {
		c.say("authenticate", err)
		return "", false
	}
	resp := q.ResponseKind().(*kmsg.SASLAuthenticateResponse)
	resp.SetVersion(version)
	if err := resp.ReadFrom(body); err != nil {
		c.say("authenticate", err)
		return "", false
	}
	text := "null"
	if resp.ErrorMessage != nil {
		text = *resp.ErrorMessage
	}
	c.say("authenticate", nil, resp.ErrorCode, text, kindOf(string(resp.SASLAuthBytes)), resp.SessionLifetimeMillis)
	return string(resp.SASLAuthBytes), resp.ErrorCode == 0
}

// kindOf tells which message it is: what stands in it differs by the nonce.
func kindOf(message string) string {
	var names []string
	for part := range strings.SplitSeq(message, ",") {
		name, _, _ := strings.Cut(part, "=")
		names = append(names, name)
	}
	return fmt.Sprint(names)
}

// raw sends a message without a header.
func (c *client) raw(message []byte) (string, bool) {
	reply, err := c.frame(message)
	if err != nil {
		c.say("raw", err)
		return "", false
	}
	c.say("raw", nil, kindOf(string(reply)))
	return string(reply), true
}

// first sends a first message and returns the nonce of the answer.
func (c *client) first(version int16, message string) string {
	reply, _ := c.authenticate(version, []byte(message))
	for part := range strings.SplitSeq(reply, ",") {
		if nonce, ok := strings.CutPrefix(part, "r="); ok {
			return nonce
		}
	}
	return ""
}

// proof is one of the right length, and wrong.
func proof() string { return base64.StdEncoding.EncodeToString(make([]byte, 64)) }

// login logs in by SCRAM, with headers of SaslAuthenticate, or without (-1).
func (c *client) login(version int16, m identity.Mechanism, user, password string) {
	c.t.Helper()
	generator := scram.SHA256
	if m == identity.ScramSHA512 {
		generator = scram.SHA512
	}
	x, err := generator.NewClientUnprepped(user, password, "")
	must(c.t, err)
	talk := x.NewConversation()
	if !c.handshake(min(version+1, 1), m) {
		return
	}
	reply := ""
	for range 2 {
		message, err := talk.Step(reply)
		must(c.t, err)
		var ok bool
		if version < 0 {
			reply, ok = c.raw([]byte(message))
		} else {
			reply, ok = c.authenticate(version, []byte(message))
		}
		if !ok {
			return
		}
	}
	_, err = talk.Step(reply)
	c.say("verified", err)
}
