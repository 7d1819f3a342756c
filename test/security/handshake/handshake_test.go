package handshake

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/secure/identity"
	"millrace/test/harness"
)

// departure is a kind of scenario in which the Door answers otherwise than Apache Kafka, and why.
type departure struct {
	name string // a part of "listener/scenario"
	why  string
}

func departures() []departure {
	return []departure{
		{"unknown user", "Apache Kafka tells with its first answer that there is no such user."},
		{"ApiVersions twice", "Apache Kafka closes the connection. Nothing is gained by that, and a probe may ask as often as it likes."},
		{ending + "/other request in the middle", "Apache Kafka answers with that request's own form of an error before it closes the connection."},
		{`first message "n,,m=ext`, "RFC 5802 says that a mandatory extension that is not known has to be refused."},
		{`last message "c=biws,r=NONCE,p=AAAA"`, "Apache Kafka closes the connection without an answer, by an exception that it does not expect."},
	}
}

// The listeners on either side: sessions by one end after an hour, those by the other do not.
const (
	ending  = "ENDING"
	lasting = "LASTING"
)

func TestHandshakesAreThoseOfApacheKafka(t *testing.T) {
	harness.Long(t, "make suite SUITE=security/handshake")
	const two = 2
	port := harness.FreePorts(t, two)
	kafka := map[string]string{ending: fmt.Sprintf("127.0.0.1:%d", port), lasting: fmt.Sprintf("127.0.0.1:%d", port+1)}
	makeUsers(t, startKafka(t, kafka).Bootstrap)
	ours := startDoor(t)
	for listener, address := range kafka {
		for _, s := range scenarios() {
			t.Run(listener+"/"+s.name, func(t *testing.T) {
				want, got := play(t, address, s), play(t, ours[listener], s)
				meant := slices.ContainsFunc(departures(), func(d departure) bool { return strings.Contains(listener+"/"+s.name, d.name) })
				switch {
				case want == got && meant:
					t.Errorf("both say the same now; take it out of departures:\n%s", got)
				case want != got && !meant:
					t.Errorf("Apache Kafka:\n%s\nthe Door:\n%s", want, got)
				}
			})
		}
	}
}

// startKafka starts Apache Kafka with listeners for SCRAM.
func startKafka(t *testing.T, listeners map[string]string) *harness.Cluster {
	t.Helper()
	properties := map[string]string{
		"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,ENDING:SASL_PLAINTEXT,LASTING:SASL_PLAINTEXT",
		"inter.broker.listener.name":     "PLAINTEXT",
		"sasl.enabled.mechanisms":        "SCRAM-SHA-512,SCRAM-SHA-256",
	}
	for _, m := range []string{"scram-sha-256", "scram-sha-512"} {
		for _, l := range []string{"ending", "lasting"} {
			properties["listener.name."+l+"."+m+".sasl.jaas.config"] = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
		}
		properties["listener.name.ending."+m+".connections.max.reauth.ms"] = "3600000"
	}
	return harness.StartKafka(t, harness.KafkaOptions{Listeners: listeners, Properties: properties})
}

func makeUsers(t *testing.T, bootstrap string) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	must(t, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all []kadm.UpsertSCRAM
	for _, user := range users() {
		for _, m := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} {
			all = append(all, kadm.UpsertSCRAM{User: user, Mechanism: m, Iterations: 4096, Password: user + "-password"})
		}
	}
	for _, one := range all { // a user may be named once in a request
		done, err := kadm.NewClient(c).AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{one})
		must(t, err)
		must(t, done.Error())
	}
}

func users() []string { return []string{"alice", "bob", "a,b=c"} }

// scenario is what a client does on one connection.
type scenario struct {
	name string
	do   func(*client)
}

// play returns what came back, a line for each step.
func play(t *testing.T, addr string, s scenario) string {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, 10*time.Second)
	must(t, err)
	defer func() { _ = nc.Close() }()
	must(t, nc.SetDeadline(time.Now().Add(20*time.Second)))
	c := &client{t: t, nc: nc}
	s.do(c)
	return strings.Join(c.said, "\n")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const (
	sha256 = identity.ScramSHA256
	sha512 = identity.ScramSHA512
)

func scenarios() []scenario {
	var out []scenario
	add := func(name string, do func(*client)) { out = append(out, scenario{name, do}) }
	for _, version := range []int16{-1, 0, 1, 2} {
		for _, m := range []identity.Mechanism{sha256, sha512} {
			kind := fmt.Sprintf("%s v%d", m, version)
			for _, user := range users() {
				add(kind+" "+user, func(c *client) { c.login(version, m, user, user+"-password"); c.metadata() })
			}
			add(kind+" wrong password", func(c *client) { c.login(version, m, "alice", "wrong"); c.metadata() })
			add(kind+" unknown user", func(c *client) { c.login(version, m, "nobody", "wrong"); c.metadata() })
			add(kind+" again", func(c *client) {
				c.login(version, m, "alice", "alice-password")
				c.login(version, m, "alice", "alice-password")
				c.metadata()
			})
			add(kind+" again as another", func(c *client) {
				c.login(version, m, "alice", "alice-password")
				c.login(version, m, "bob", "bob-password")
				c.metadata()
			})
			add(kind+" again wrongly", func(c *client) {
				c.login(version, m, "alice", "alice-password")
				c.login(version, m, "alice", "wrong")
				c.metadata()
			})
		}
	}
	add("again by another mechanism", func(c *client) {
		c.login(1, sha512, "alice", "alice-password")
		c.login(1, sha256, "alice", "alice-password")
		c.metadata()
	})
	add("again by one that is not offered", func(c *client) {
		c.login(1, sha512, "alice", "alice-password")
		c.handshake(1, "PLAIN")
		c.metadata()
	})
	add("again twice within a second", func(c *client) {
		for range 3 {
			c.login(1, sha512, "alice", "alice-password")
		}
		c.metadata()
	})
	add("other request in the middle of a second login", func(c *client) {
		c.login(1, sha512, "alice", "alice-password")
		c.handshake(1, sha512)
		c.metadata()
	})
	add("authenticate after the login", func(c *client) {
		c.login(1, sha512, "alice", "alice-password")
		c.authenticate(2, []byte("n,,n=alice,r=abc"))
		c.metadata()
	})
	for _, m := range []identity.Mechanism{"PLAIN", "", "GSSAPI", "scram-sha-512"} {
		for version := range int16(2) {
			add(fmt.Sprintf("mechanism %q v%d", m, version), func(c *client) { c.handshake(version, m); c.metadata() })
		}
	}
	add("nothing before the login", func(c *client) { c.metadata() })
	add("ApiVersions before the login", func(c *client) { c.apiVersions(3); c.login(1, sha512, "alice", "alice-password"); c.metadata() })
	add("ApiVersions too new", func(c *client) { c.apiVersions(99); c.apiVersions(0); c.login(1, sha512, "alice", "alice-password") })
	add("ApiVersions twice", func(c *client) { c.apiVersions(3); c.apiVersions(3) })
	add("ApiVersions after the handshake", func(c *client) { c.handshake(1, sha512); c.apiVersions(3) })
	add("authenticate without a handshake", func(c *client) { c.authenticate(1, []byte("n,,n=alice,r=abc")) })
	add("handshake twice", func(c *client) { c.handshake(1, sha512); c.handshake(1, sha512) })
	add("raw message after a handshake with headers", func(c *client) { c.handshake(1, sha512); c.raw([]byte("n,,n=alice,r=abc")) })
	add("header after a handshake without", func(c *client) { c.handshake(0, sha512); c.authenticate(1, []byte("n,,n=alice,r=abc")) })
	for _, first := range []string{"", "x", "n,,", "n,,n=alice", "n,,n=alice,r=", "n,,n=,r=abc", "y,,n=alice,r=abc", "p=tls-unique,,n=alice,r=abc", "n,a=alice,n=alice,r=abc",
		"n,a=bob,n=alice,r=abc", "n,,n=a=2Xb,r=abc", "n,,m=ext,n=alice,r=abc", "n,,n=alice,r=abc,tokenauth=true", "n,,n=alice,r=abc,ext=1"} {
		add(fmt.Sprintf("first message %q", first), func(c *client) { c.handshake(1, sha512); c.first(1, first) })
	}
	for _, final := range []string{"", "x", "c=biws,r=abc", "c=biws,r=NONCE,p=AAAA", "c=biws,r=other,p=" + proof(), "c=eSws,r=NONCE,p=" + proof(), "c=biws,r=NONCE,p=" + proof(),
		"c=biws,r=NONCE,p=%%%", "c=biws,r=NONCE,x=1,p=" + proof()} {
		add(fmt.Sprintf("last message %q", final), func(c *client) {
			c.handshake(1, sha512)
			c.authenticate(1, []byte(strings.ReplaceAll(final, "NONCE", c.first(1, "n,,n=alice,r=abc"))))
			c.metadata()
		})
	}
	return out
}

func (c *client) metadata() {
	q := kmsg.NewPtrMetadataRequest()
	q.Topics = []kmsg.MetadataRequestTopic{}
	_, err := c.ask(9, q)
	c.say("metadata", err)
}
