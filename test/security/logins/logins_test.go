package logins

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/secure/iam"
	"millrace/secure/sigv4"
	"millrace/test/harness"
)

// outcome is what has to come of a case.
type outcome int

const (
	works        outcome = iota // its record comes back
	notLoggedIn                 // the login is refused
	notPermitted                // the login is not, what comes then is
)

// How clients say it. franz-go says of a refused OAUTHBEARER that there is something in the answer.
var (
	saysLogin = regexp.MustCompile(`(?i)authenticat|sasl|access denied|invalid_token|invalid credentials|certificate|unknown ca|handshake|unexpected data in oauth response`)
	// kafkajs does not look at what a refused OAUTHBEARER is answered with, goes on, and is cut off.
	cutOff     = regexp.MustCompile(`Closed connection`)
	saysRights = regexp.MustCompile(`(?i)authoriz`)
)

const topic = "logins"

// TestLogins has every client log in by every method that it has, with right and wrong credentials, and with each permission missing.
func TestLogins(t *testing.T) {
	harness.Long(t, "make suite SUITE=security/logins")
	s := openSite(t)
	people := s.people()
	for _, to := range s.targets() {
		t.Run(to.name, func(t *testing.T) {
			createTopic(t, s.by(to), topic)
			var together sync.WaitGroup
			for _, p := range programs() {
				cases := s.cases(t, p, to, people)
				together.Go(func() {
					t.Run(p.name, func(t *testing.T) { check(t, p, cases) })
				})
			}
			together.Wait()
		})
	}
	s.replays(t, people["everybody"])
}

func check(t *testing.T, p program, cases []loginCase) {
	answers := p.run(t, cases)
	for _, c := range cases {
		a := answers[c.ID]
		came := false
		for _, v := range a.Consumed {
			came = came || v == c.Value
		}
		switch {
		case c.want == works && (a.Error != "" || !came):
			t.Errorf("%s: %s, record came back: %v", c.ID, a.Error, came)
		case c.want == notLoggedIn && !saysLogin.MatchString(a.Error) && !(p.name == "kafkajs" && cutOff.MatchString(a.Error)):
			t.Errorf("%s: %q, want a refused login", c.ID, a.Error)
		case c.want == notPermitted && !saysRights.MatchString(a.Error):
			t.Errorf("%s: %q, want a refused permission", c.ID, a.Error)
		case c.want != works && came:
			t.Errorf("%s: the record came back", c.ID)
		}
	}
	t.Logf("%d cases", len(cases))
}

func createTopic(t *testing.T, a admin, name string) {
	t.Helper()
	if _, err := kadm.NewClient(a.Client).CreateTopic(t.Context(), 1, 1, nil, name); err != nil {
		t.Fatal(err)
	}
}

// person is somebody who logs in, by each method.
type person struct {
	name          string
	key           iam.NewKey
	cert, certKey string
	want          outcome
}

// lacks says which permission each of those has not that may do all but one thing.
var lacks = map[string]string{
	"nobody-connects": "Connect", "nobody-describes": "DescribeTopic", "nobody-writes": "WriteData", "nobody-reads": "ReadData", joiner: "AlterGroup",
}

// joiner may not be a member of a group. Only kafkajs has to.
const joiner = "nobody-joins"

const password = "correct horse"

// people makes those who log in: one who may do everything, and one for each permission that is missing. They have a password, an access
// key and a certificate each.
func (s *site) people() map[string]person {
	all := map[string]person{}
	client := kadm.NewClient(s.client(s.iamAddress(), s.root.ID, s.root.Secret, "").Client)
	acls := kmsg.NewPtrCreateACLsRequest()
	for name, missing := range lacks {
		all[name] = s.person(name, missing, acls, notPermitted)
	}
	all["everybody"] = s.person("everybody", "", acls, works)
	all["off"] = s.person("off", "", acls, works)
	var passwords []kadm.UpsertSCRAM
	for name := range all {
		passwords = append(passwords, kadm.UpsertSCRAM{User: name, Mechanism: kadm.ScramSha512, Iterations: 4096, Password: password})
	}
	alter := func(gone []kadm.DeleteSCRAM, now []kadm.UpsertSCRAM) {
		done, err := client.AlterUserSCRAMs(s.deadline(), gone, now)
		must(s.t, err)
		must(s.t, done.Error())
	}
	leaver := kadm.UpsertSCRAM{User: "leaver", Mechanism: kadm.ScramSha512, Iterations: 4096, Password: password}
	alter(nil, append(passwords, leaver))
	s.disable(all["off"])
	changed := kadm.UpsertSCRAM{User: "off", Mechanism: kadm.ScramSha512, Iterations: 4096, Password: "changed since"}
	alter([]kadm.DeleteSCRAM{{User: leaver.User, Mechanism: kadm.ScramSha512}}, []kadm.UpsertSCRAM{changed})
	resp, err := acls.RequestWith(s.deadline(), s.client(s.iamAddress(), s.root.ID, s.root.Secret, "").Client)
	must(s.t, err)
	for _, r := range resp.Results {
		if r.ErrorCode != 0 {
			s.t.Fatalf("ACL: %d", r.ErrorCode)
		}
	}
	return all
}

func (s *site) iamAddress() string {
	host, port, err := net.SplitHostPort(s.express.Bootstrap)
	must(s.t, err)
	n := 0
	_, err = fmt.Sscan(port, &n)
	must(s.t, err)
	return net.JoinHostPort(host, fmt.Sprint(n+6))
}

// person makes one with all permissions but one.
func (s *site) person(name, missing string, acls *kmsg.CreateACLsRequest, want outcome) person {
	_, err := s.store.CreateUser(s.deadline(), name, nil)
	must(s.t, err)
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kafka-cluster:*","Resource":"*"}]}`
	if missing != "" {
		policy = strings.Replace(policy, "}]}", `},{"Effect":"Deny","Action":"kafka-cluster:`+missing+`","Resource":"*"}]}`, 1)
	}
	must(s.t, s.store.PutInline(s.deadline(), iam.Owner{Name: name}, "own", []byte(policy)))
	p := person{name: name, want: want}
	p.key, err = s.store.CreateKey(s.deadline(), name)
	must(s.t, err)
	dir := filepath.Join(s.t.TempDir(), name)
	s.verb("cert", "issue", "--name", name, "--out", dir)
	p.cert, p.certKey = filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key")
	for _, principal := range []string{"User:" + name, "User:CN=" + name} {
		add := func(kind kmsg.ACLResourceType, on string, op kmsg.ACLOperation, deny bool) {
			one := kmsg.CreateACLsRequestCreation{
				ResourceType: kind, ResourceName: on, ResourcePatternType: kmsg.ACLResourcePatternTypeLiteral, Principal: principal, Host: "*",
				Operation: op, PermissionType: kmsg.ACLPermissionTypeAllow,
			}
			if deny {
				one.PermissionType = kmsg.ACLPermissionTypeDeny
			}
			acls.Creations = append(acls.Creations, one)
		}
		add(kmsg.ACLResourceTypeTopic, topic, kmsg.ACLOperationAll, false)
		add(kmsg.ACLResourceTypeGroup, "*", kmsg.ACLOperationAll, false)
		op, ok := map[string]kmsg.ACLOperation{"DescribeTopic": kmsg.ACLOperationDescribe, "WriteData": kmsg.ACLOperationWrite, "ReadData": kmsg.ACLOperationRead}[missing]
		if ok {
			add(kmsg.ACLResourceTypeTopic, topic, op, true)
		}
		if missing == "AlterGroup" {
			add(kmsg.ACLResourceTypeGroup, "*", kmsg.ACLOperationRead, true)
		}
	}
	return p
}

// verb runs millrace with the root key.
func (s *site) verb(args ...string) {
	s.t.Helper()
	command := exec.CommandContext(s.t.Context(), harness.MillraceBinary(s.t), args...)
	command.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+s.root.ID, "AWS_SECRET_ACCESS_KEY="+s.root.Secret, "AWS_REGION="+region,
		"MILLRACE_CA="+filepath.Join(s.express.Dir, "secure", "ca.pem"), "MILLRACE_API=https://"+s.express.API)
	if out, err := command.CombinedOutput(); err != nil {
		s.t.Fatalf("millrace %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// cases are all of a client at a cluster.
func (s *site) cases(t *testing.T, p program, to target, people map[string]person) (all []loginCase) {
	good, off := people["everybody"], people["off"]
	has := func(method string) bool { return strings.Contains(" "+p.methods+" ", " "+method+" ") }
	add := func(id string, want outcome, address string, c loginCase) {
		c.ID, c.Client, c.CA, c.Region, c.Topic, c.want = c.Method+"/"+id, p.name, s.ca, def(c.Region, region), topic, want
		c.Value = strings.Join([]string{to.name, p.name, c.ID}, "/")
		c.Group = strings.ReplaceAll(c.Value, "/", "-")
		c.Bootstrap, c.TimeoutMS = address, 20000
		if want != works {
			c.TimeoutMS = 6000
		}
		switch sasl := c.Method != "none"; {
		case want == notLoggedIn && sasl && p.name == "kafka-python": // what comes with the end of a connection is lost to it
			c.Bootstrap = s.tap(t, address, true).address
		case want == notLoggedIn: // each from an address of its own: refused logins make those of an address slower
			c.Bootstrap = s.relay(t, address)
		case sasl && id == good.name:
			tap := s.tap(t, address, false)
			tap.what = c.Value
			s.taps = append(s.taps, tap)
			c.Bootstrap = tap.address
		}
		all = append(all, c)
	}
	if to.tls != "" {
		for _, who := range ordered(p, people) {
			if who.name != "nobody-connects" && who.name != "off" {
				add(who.name, who.want, to.tls, loginCase{Method: "none", Cert: who.cert, Key: who.certKey})
			}
		}
		add("no certificate", notLoggedIn, to.tls, loginCase{Method: "none"})
		add("revoked", notLoggedIn, to.tls, loginCase{Method: "none", Cert: off.cert, Key: off.certKey})
		add("expired", notLoggedIn, to.tls, loginCase{Method: "none", Cert: s.ended.Cert, Key: s.ended.Key})
		add("of another authority", notLoggedIn, to.tls, loginCase{Method: "none", Cert: s.foreign.Cert, Key: s.foreign.Key})
	}
	for _, who := range ordered(p, people) {
		if who.name != "nobody-connects" && who.name != "off" {
			add(who.name, who.want, to.scram, loginCase{Method: "scram", User: who.name, Password: password})
		}
	}
	add("wrong password", notLoggedIn, to.scram, loginCase{Method: "scram", User: good.name, Password: "battery staple"})
	add("unknown user", notLoggedIn, to.scram, loginCase{Method: "scram", User: "eve", Password: password})
	add("password that was changed", notLoggedIn, to.scram, loginCase{Method: "scram", User: off.name, Password: password})
	add("user that was deleted", notLoggedIn, to.scram, loginCase{Method: "scram", User: "leaver", Password: password})
	session, err := s.view.SessionToken(s.identity(good.key.ID), time.Hour)
	must(t, err)
	past, err := s.past().SessionToken(s.identity(good.key.ID), 15*time.Minute)
	must(t, err)
	for _, method := range []string{"iam", "oauth"} {
		if !has(method) {
			continue
		}
		by := func(key iam.NewKey, token string) loginCase {
			return loginCase{Method: method, AccessKey: key.ID, SecretKey: key.Secret, SessionToken: token}
		}
		for _, who := range ordered(p, people) {
			switch who.name {
			case "off":
				add("disabled key", notLoggedIn, to.auth, by(who.key, ""))
			case "nobody-connects":
				add(who.name, notLoggedIn, to.auth, by(who.key, ""))
			default:
				add(who.name, who.want, to.auth, by(who.key, ""))
			}
		}
		add("session", works, to.auth, loginCase{Method: method, AccessKey: session.ID, SecretKey: session.Secret, SessionToken: session.Token})
		add("expired session", notLoggedIn, to.auth, loginCase{Method: method, AccessKey: past.ID, SecretKey: past.Secret, SessionToken: past.Token})
		add("session without its token", notLoggedIn, to.auth, loginCase{Method: method, AccessKey: session.ID, SecretKey: session.Secret})
		add("token of another's session", notLoggedIn, to.auth, loginCase{Method: method, AccessKey: good.key.ID, SecretKey: good.key.Secret, SessionToken: session.Token})
		add("key that was deleted", notLoggedIn, to.auth, by(s.gone, ""))
		add("wrong secret", notLoggedIn, to.auth, loginCase{Method: method, AccessKey: good.key.ID, SecretKey: good.key.Secret + "x"})
		add("key of another installation", notLoggedIn, to.auth, loginCase{Method: method, AccessKey: "AKIAIOSFODNN7EXAMPLE", SecretKey: good.key.Secret})
		if method == "oauth" || p.name != "franz" { // franz-go takes the region of AWS_MSK_IAM from its environment, once
			add("another region", notLoggedIn, to.auth, loginCase{Method: method, AccessKey: good.key.ID, SecretKey: good.key.Secret, Region: "eu-west-1"})
		}
	}
	if has("token") {
		now := time.Now()
		add("as it is", works, to.auth, loginCase{Method: "token", Token: bearer(t, good.key, region, now)})
		add("expired", notLoggedIn, to.auth, loginCase{Method: "token", Token: bearer(t, good.key, region, now.Add(-time.Hour))})
		add("not yet", notLoggedIn, to.auth, loginCase{Method: "token", Token: bearer(t, good.key, region, now.Add(time.Hour))})
		add("of another region", notLoggedIn, to.auth, loginCase{Method: "token", Token: bearer(t, good.key, "eu-west-1", now)})
		add("of a disabled key", notLoggedIn, to.auth, loginCase{Method: "token", Token: bearer(t, off.key, region, now)})
		add("of another's key", notLoggedIn, to.auth, loginCase{Method: "token", Token: bearer(t, iam.NewKey{ID: s.root.ID, Secret: good.key.Secret}, region, now)})
	}
	return all
}

// ordered are those who log in with a client, the same in each run.
func ordered(p program, people map[string]person) (all []person) {
	for _, name := range slices.Sorted(maps.Keys(people)) {
		if name != joiner || p.name == "kafkajs" {
			all = append(all, people[name])
		}
	}
	return all
}

func def(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// past is what somebody knows whose clock is two hours behind.
func (s *site) past() *iam.View { return s.viewAt(clock.NewManual(time.Now().Add(-2 * time.Hour))) }

// bearer is a token as the signers of AWS make it, by AWS's own library, at any time.
func bearer(t testing.TB, key iam.NewKey, in string, at time.Time) string {
	t.Helper()
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	url := "https://" + sigv4.BearerHost(in) + "/?Action=kafka-cluster%3AConnect&X-Amz-Expires=900"
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	must(t, err)
	signed, _, err := v4.NewSigner().PresignHTTP(context.Background(), sdk.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret}, request, empty, "kafka-cluster", in, at)
	must(t, err)
	return base64.RawURLEncoding.EncodeToString([]byte(signed + "&User-Agent=aws-msk-iam-sasl-signer-go%2F1.0.4"))
}
