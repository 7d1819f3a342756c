package control_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"millrace/base/kv"
	"millrace/control"
	"millrace/control/place"
	"millrace/engine"
	"millrace/secure/cert"
)

func TestParseAuth(t *testing.T) {
	for text, want := range map[string]string{
		"plaintext": "plaintext", "IAM, scram": "scram,iam", "iam,iam": "iam", "iam,mtls,scram": control.SecureLogins,
	} {
		if got, err := control.ParseAuth(text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "plain", "iam,", "sasl"} {
		if got, err := control.ParseAuth(text); !errors.Is(err, control.ErrSpec) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// ways are the listeners of a placed broker, "NAME address protocol/cert".
func ways(s engine.NodeSpec) string {
	var all []string
	for _, l := range s.Served() {
		all = append(all, strings.TrimSuffix(l.Name+" "+l.Address+" "+l.Protocol()+"/"+l.ClientCert, "/"))
	}
	return strings.Join(all, "\n")
}

// TestListeners says which listeners a broker has, by MSK's names and numbers.
func TestListeners(t *testing.T) {
	place := func(auth, public string, h engine.Host) engine.NodeSpec {
		t.Helper()
		c := described(2)
		c.Auth, c.Region = auth, "eu-west-1"
		h.Name, h.Public = "h", public
		specs, err := place.Brokers(c, []engine.Host{h}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range specs {
			if (s.Format == engine.Secured) != (auth != "") {
				t.Errorf("logins %q: format %d", auth, s.Format)
			}
			if s.Secure.Authorize != (strings.Contains(auth, "m")) {
				t.Errorf("logins %q: authorize %v", auth, s.Secure.Authorize)
			}
		}
		return specs[1]
	}
	base := strings.TrimSuffix(place("", "", engine.Host{}).Listen, "9192")
	for _, c := range []struct{ auth, public, want string }{
		{"", "", "CLIENT @9192 PLAINTEXT"},
		{"plaintext", "", "CLIENT @9192 PLAINTEXT\nREPLICATION_SECURE @9195 SSL/need"},
		{"tls,mtls", "", "CLIENT_SECURE @9194 SSL/want\nREPLICATION_SECURE @9195 SSL/need"},
		{"tls", "192.0.2.1", "CLIENT_SECURE @9194 SSL/none\nREPLICATION_SECURE @9195 SSL/need"},
		{
			"mtls,scram,iam", "192.0.2.1", "CLIENT_SECURE @9194 SSL/need\nCLIENT_SECURE_PUBLIC 192.0.2.1:9294 SSL/need\n" +
				"CLIENT_SASL_SCRAM @9196 SASL_SSL\nCLIENT_SASL_SCRAM_PUBLIC 192.0.2.1:9296 SASL_SSL\n" +
				"CLIENT_IAM @9198 SASL_SSL\nCLIENT_IAM_PUBLIC 192.0.2.1:9298 SASL_SSL\nREPLICATION_SECURE @9195 SSL/need",
		},
	} {
		if got, want := ways(place(c.auth, c.public, engine.Host{})), strings.ReplaceAll(c.want, "@", base); got != want {
			t.Errorf("logins %q:\n%s\nwant:\n%s", c.auth, got, want)
		}
	}
	ranged := place("iam", "", engine.Host{Address: "10.0.0.9", Ports: engine.Ports{From: 30000, To: 30100}})
	if got := ways(ranged); got != "CLIENT_IAM 10.0.0.9:30014 SASL_SSL\nREPLICATION_SECURE 10.0.0.9:30011 SSL/need" {
		t.Errorf("in a range of ports: %s", got)
	}
}

// TestNames is who may have which certificate.
func TestNames(t *testing.T) {
	plane := newPlane(kv.NewMemory())
	c := described(2)
	c.Auth, c.Region = control.SecureLogins, "us-east-1"
	must(t, ensure(plane, c))
	allow := plane.Names("127.0.0.1:8480")
	for _, n := range []cert.Node{cert.Broker("other", 1), cert.Broker("c", 3), cert.Agent("stranger"), cert.Serve("stranger"), "gateway/1", ""} {
		if names, err := allow(context.Background(), n); !errors.Is(err, control.ErrStranger) {
			t.Errorf("%s: %v, %v", n, names, err)
		}
	}
	names, err := allow(context.Background(), cert.Broker(c.Name, 2))
	if err != nil || !slices.Contains(names.DNS, "broker-2."+c.Name+".millrace") {
		t.Errorf("broker 2: %v, %v", names, err)
	}
}

// TestLoginsChange goes from PLAINTEXT to logins and back while brokers run, whatever write the control plane dies at (C4, C9).
func TestLoginsChange(t *testing.T) {
	three := func() map[int32]int { return map[int32]int{1: 4, 2: 4, 3: 4} }
	for _, c := range []struct {
		from, to string
		began    []string
	}{
		{"", control.SecureLogins, []string{
			"1 plaintext,mtls,scram,iam", "2 plaintext,mtls,scram,iam", "3 plaintext,mtls,scram,iam", "1 mtls,scram,iam", "2 mtls,scram,iam", "3 mtls,scram,iam",
		}},
		{"", "plaintext,iam", []string{"1 plaintext,iam", "2 plaintext,iam", "3 plaintext,iam", "1 plaintext,iam", "2 plaintext,iam", "3 plaintext,iam"}},
		{"scram", "plaintext", []string{"1 plaintext,scram", "2 plaintext,scram", "3 plaintext,scram", "1 plaintext", "2 plaintext", "3 plaintext"}},
		{"scram,iam", "iam", []string{"1 iam", "2 iam", "3 iam"}},
	} {
		everyCutOf(t, c.from, 3, three, control.Request{Kind: control.Logins, Auth: c.to}, nil, func(t *testing.T, o outcome) {
			if len(o.host.faults) > 0 {
				t.Errorf("from %q to %q: %s", c.from, c.to, strings.Join(o.host.faults, "\n"))
			}
			if !slices.Equal(o.host.began, c.began) {
				t.Errorf("from %q to %q: restarted %q", c.from, c.to, o.host.began)
			}
			for _, s := range o.specs {
				if s.Auth != c.to || s.Secure.Authorize != control.Authorizes(c.to) {
					t.Errorf("from %q to %q: broker %d has %q, authorizes %v", c.from, c.to, s.ID, s.Auth, s.Secure.Authorize)
				}
			}
		})
	}
}

// TestEnsureLogins is how serve is told of logins: at once where nothing runs, else by an operation, and never by leaving a flag out.
func TestEnsureLogins(t *testing.T) {
	store := kv.NewMemory()
	plane := newPlane(store)
	asked := described(1)
	expect := func(auth, wanted, spec string) {
		t.Helper()
		must(t, ensure(plane, asked))
		c, err := plane.Cluster(t.Context(), "c")
		must(t, err)
		if got := specs(t, store)[0].Auth; c.Auth != auth || c.WantedAuth != wanted || got != spec {
			t.Errorf("asked for %q: %q, wanted %q, broker %q; want %q, %q, %q", asked.Auth, c.Auth, c.WantedAuth, got, auth, wanted, spec)
		}
	}
	asked.Auth = "plaintext"
	expect("", "", "")
	asked.Auth = "scram"
	expect("scram", "", "scram")
	asked.Auth = ""
	expect("scram", "", "scram")
	put(t, store, "status/h/c/1", `{"format":1,"state":"READY","pid":7}`)
	asked.Auth = "iam"
	expect("scram", "iam", "scram")
	asked.Auth = ""
	expect("scram", "iam", "scram")
	put(t, store, "status/h/c/1", `{"format":1,"state":"STOPPED"}`)
	asked.Auth = "plaintext"
	expect("plaintext", "", "plaintext")
	asked.Auth = "bad"
	if err := ensure(plane, asked); !errors.Is(err, control.ErrSpec) {
		t.Errorf("bad logins: %v", err)
	}
}
