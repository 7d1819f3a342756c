package render

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace/engine"
	"millrace/secure/identity"
)

var rewrite = flag.Bool("rewrite", false, "write what is rendered to testdata")

func place() Place {
	return Place{Data: "/d/data", Logs: "/d/logs", Logging: "/d/log4j.properties", KeyStore: "/d/node.pem", TrustStore: "/d/roots.pem"}
}

func quorum() []engine.Voter {
	return []engine.Voter{{ID: 10001, Address: "h1:2001"}, {ID: 10002, Address: "h2:2001"}, {ID: 10003, Address: "[::1]:2001"}}
}

func plainBroker() engine.NodeSpec {
	return engine.NodeSpec{
		Format: engine.Format, Host: "h1", Cluster: "main", ID: 2, Engine: engine.Standard, Zone: "use1-az2", Listen: "h1:9092", Version: "4.3.x",
		ClusterID: "AAAAAAAAAAAAAAAAAAAAAA", Voters: quorum(), Heap: 1 << 30, Memory: 2 << 30,
		Listeners:  []engine.Listener{{Name: engine.Client, Address: "h1:9092"}, {Name: engine.InternalPlain, Address: "h1:9093"}},
		Properties: "# by the revision\nmin.insync.replicas=1\n\nlog.retention.hours = 24\n",
		Limits:     engine.Limits{Connections: 1000, ConnectionRate: 20, MessageBytes: 8 << 20, CPUs: 2}, MaxConnections: 3000, MaxConnectionsPerIP: 7,
	}
}

func secureBroker() engine.NodeSpec {
	s := plainBroker()
	s.Properties, s.Limits, s.Memory, s.Heap = "", engine.Limits{}, 0, 0
	s.MaxConnections, s.MaxConnectionsPerIP = 0, 0
	s.Listeners = []engine.Listener{
		{Name: engine.ClientTLS, Address: "h1:9094", TLS: true, ClientCert: engine.CertWant},
		{Name: engine.ClientScram, Address: "h1:9096", Advertise: "b-2.example.com:9096", TLS: true, Mechanisms: []identity.Mechanism{identity.ScramSHA512}},
		{Name: engine.Internal, Address: "h1:9095", TLS: true, ClientCert: engine.CertNeed},
	}
	s.Secure = engine.Secure{Authorize: true, Super: "User:admin;User:ops", Mapping: `RULE:^CN=(.*?),.*$/$1/L,DEFAULT`}
	return s
}

func controllerOf(s engine.NodeSpec) engine.NodeSpec {
	tls := s.Inside().TLS
	s.ID, s.Role, s.Listen, s.Heap, s.Memory = 10001, engine.Controller, "h1:2001", 0, 0
	s.Listeners = []engine.Listener{{Name: engine.ControllerListener, Address: "h1:2001", TLS: tls}}
	if tls {
		s.Listeners[0].ClientCert = engine.CertNeed
	}
	return s
}

// TestGolden shows whole files as they are written, for people to read.
func TestGolden(t *testing.T) {
	for _, version := range []string{"3.9.2", "4.3.1"} {
		for name, s := range map[string]engine.NodeSpec{
			"broker": plainBroker(), "broker-secure": secureBroker(), "controller": controllerOf(plainBroker()), "controller-secure": controllerOf(secureBroker()),
		} {
			text, err := Properties(s, version, place())
			if err != nil {
				t.Errorf("%s of %s: %v", name, version, err)
				continue
			}
			all := "# java " + strings.Join(Options(s, version, place(), "/k/classes.jsa"), "\n#   ") + "\n\n" + text
			if name == "broker" {
				all += "\n# logging\n" + Logging(version, place())
			}
			file := filepath.Join("testdata", name+"-"+version+".txt")
			if *rewrite {
				if err := os.WriteFile(file, []byte(all), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if all != string(want) {
				t.Errorf("%s is another now (-rewrite writes it):\n%s", file, all)
			}
		}
	}
}

// TestNodesThatCannotBe: nothing that this package cannot express is left out in silence (R3).
func TestNodesThatCannotBe(t *testing.T) {
	iam := engine.Listener{Name: engine.ClientIAM, Address: "h1:9098", TLS: true, Mechanisms: []identity.Mechanism{identity.MSKIAM}}
	for what, spoil := range map[string]func(*engine.NodeSpec, *Place){
		"no quorum":              func(s *engine.NodeSpec, _ *Place) { s.Voters = nil },
		"a role":                 func(s *engine.NodeSpec, _ *Place) { s.Role = "observer" },
		"no id":                  func(s *engine.NodeSpec, _ *Place) { s.ID = 0 },
		"a broker that votes":    func(s *engine.NodeSpec, _ *Place) { s.ID = 10001 },
		"an idle controller":     func(s *engine.NodeSpec, _ *Place) { *s = controllerOf(*s); s.ID = 10009 },
		"a voter twice":          func(s *engine.NodeSpec, _ *Place) { s.Voters[1].ID = s.Voters[0].ID },
		"a login by IAM":         func(s *engine.NodeSpec, _ *Place) { s.Listeners = append(s.Listeners, iam) },
		"no certificate":         func(_ *engine.NodeSpec, p *Place) { p.KeyStore = "" },
		"nobody to trust":        func(_ *engine.NodeSpec, p *Place) { p.TrustStore = "" },
		"a bad listener":         func(s *engine.NodeSpec, _ *Place) { s.Listeners[0].Address = "h1" },
		"a controller's way in":  func(s *engine.NodeSpec, _ *Place) { s.Listeners[0].Name = engine.ControllerListener },
		"a controller's clients": func(s *engine.NodeSpec, _ *Place) { l := s.Listeners; *s = controllerOf(*s); s.Listeners = l },
		"a heap too large":       func(s *engine.NodeSpec, _ *Place) { s.Heap, s.Memory = 2<<30, 2<<30 },
	} {
		s, p := secureBroker(), place()
		spoil(&s, &p)
		if text, err := Properties(s, "4.3.1", p); !errors.Is(err, ErrSpec) || text != "" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestConfigurationDoesNotOpenANode: what the spec says is not for a configuration to say (R1), with any spaces around it.
func TestConfigurationDoesNotOpenANode(t *testing.T) {
	for _, line := range []string{
		"listeners=PLAINTEXT://:1", "node.id=7", "process.roles=broker,controller", "super.users=User:ANONYMOUS", " authorizer.class.name = ", "log.dirs=/etc",
		"listener.name.client_secure.ssl.client.auth=none", "ssl.truststore.location=/tmp/x", "sasl.enabled.mechanisms=PLAIN", "broker.rack=x",
		"principal.builder.class=x", "metric.reporters=x", "config.providers=file", "controller.quorum.voters=1@evil:1", "security.providers=x",
		"min.insync.replicas=1\nmin.insync.replicas=2", "no line", "=x", "a b=c", "ü=1", strings.Repeat("a", 300) + "=1",
	} {
		s := secureBroker()
		s.Properties = line
		if text, err := Properties(s, "4.3.1", place()); !errors.Is(err, ErrProperty) || text != "" {
			t.Errorf("%q: %v", line, err)
		}
	}
	s := secureBroker()
	s.Properties = strings.Repeat("a", maxProperties+1)
	if _, err := Properties(s, "4.3.1", place()); !errors.Is(err, ErrProperty) {
		t.Error(err)
	}
}

// TestDigestIsOfWhatNeedsAStart: not of the configuration revision, which an operation brings about.
func TestDigestIsOfWhatNeedsAStart(t *testing.T) {
	digest := func(change func(*engine.NodeSpec)) string {
		s := secureBroker()
		change(&s)
		d, err := Digest(s, "4.3.1", place())
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	was := digest(func(*engine.NodeSpec) {})
	if digest(func(s *engine.NodeSpec) { s.Properties = "num.io.threads=3" }) != was {
		t.Error("a property of the configuration asks for another process")
	}
	for what, change := range map[string]func(*engine.NodeSpec){
		"listeners": func(s *engine.NodeSpec) { s.Listeners = s.Listeners[1:] },
		"voters":    func(s *engine.NodeSpec) { s.Voters[0].Address = "h9:1" },
		"zone":      func(s *engine.NodeSpec) { s.Zone = "z" },
		"rights":    func(s *engine.NodeSpec) { s.Secure.Super = "" },
	} {
		if digest(change) == was {
			t.Errorf("other %s go unnoticed", what)
		}
	}
}

// read is java.util.Properties' reading of a file, by its documentation.
func read(text string) (map[string]string, error) {
	all := map[string]string{}
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		name, value, _ := strings.Cut(line, "=")
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("%s twice", name)
		}
		value = strings.TrimLeft(value, " \t\f")
		var units []uint16
		for i := 0; i < len(value); i++ {
			c := value[i]
			if c != '\\' {
				units = append(units, uint16(c))
				continue
			}
			if i++; i == len(value) {
				return nil, errors.New("the line goes on")
			}
			switch value[i] {
			case 'u':
				n, err := strconv.ParseUint(value[i+1:i+5], 16, 16)
				if err != nil {
					return nil, err
				}
				units, i = append(units, uint16(n)), i+4
			case 'n':
				units = append(units, '\n')
			case 'r':
				units = append(units, '\r')
			case 't':
				units = append(units, '\t')
			case 'f':
				units = append(units, '\f')
			default:
				units = append(units, uint16(value[i]))
			}
		}
		all[name] = string(decode(units))
	}
	return all, nil
}

func decode(units []uint16) (runes []rune) {
	for i := 0; i < len(units); i++ {
		r := rune(units[i])
		if r >= 0xd800 && r < 0xdc00 && i+1 < len(units) {
			i++
			r = 0x10000 + (r-0xd800)<<10 + rune(units[i]) - 0xdc00
		}
		runes = append(runes, r)
	}
	return runes
}

// TestValuesAreReadAsGiven, whatever is in them (R2).
func TestValuesAreReadAsGiven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ \t\\=:#!\n\r\f"a-z]*`)).Draw(t, "value")
		value = strings.ToValidUTF8(value, "?")
		got, err := read("a=" + escapeValue(value) + "\nb=1\n")
		// Blanks in front go, but for the first, which is kept.
		if err != nil || got["a"] != value || got["b"] != "1" || len(got) != 2 {
			t.Fatalf("%q was written %q and read %q: %v", value, escapeValue(value), got["a"], err)
		}
	})
}

// FuzzConfigured takes anything for a configuration: it is refused, or read back by Java with nothing of a node's own changed.
func FuzzConfigured(f *testing.F) {
	f.Add("min.insync.replicas=1\n# x\nlog.retention.hours = 24")
	f.Add("a=b\\\nlisteners=x")
	f.Add("a=\\u000alisteners=x\rsuper.users=y")
	f.Add("a.b: c=d\n!x=1")
	s := secureBroker()
	s.Properties = ""
	plain, err := Properties(s, "4.3.1", place())
	if err != nil {
		f.Fatal(err)
	}
	was, err := read(plain)
	if err != nil {
		f.Fatal(err)
	}
	open := defaults()
	for name := range shareDefaults() {
		open[name] = ""
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := secureBroker()
		s.Properties = text
		rendered, err := Properties(s, "4.3.1", place())
		if err != nil {
			if !errors.Is(err, ErrProperty) || rendered != "" {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		now, err := read(rendered)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		given, err := Configured(text)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range was {
			if _, may := open[name]; !may && now[name] != value {
				t.Fatalf("%q made %s %q", text, name, now[name])
			}
		}
		for name := range now {
			_, before := was[name]
			if _, ok := given[name]; !before && !ok {
				t.Fatalf("%q brought %s", text, name)
			}
		}
	})
}

// TestReservedCoversWhatIsSet: every property that a node's spec sets is one that a configuration may not.
func TestReservedCoversWhatIsSet(t *testing.T) {
	for _, s := range []engine.NodeSpec{plainBroker(), secureBroker(), controllerOf(plainBroker()), controllerOf(secureBroker())} {
		s.Properties = ""
		text, err := Properties(s, "4.3.1", place())
		if err != nil {
			t.Fatal(err)
		}
		all, err := read(text)
		if err != nil {
			t.Fatal(err)
		}
		for name := range all {
			_, open := defaults()[name]
			_, share := shareDefaults()[name]
			if !open && !share && name != "message.max.bytes" && !isReserved(name) {
				t.Errorf("%s may be set by a configuration", name)
			}
		}
	}
}
