package flood

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"millrace/base/disk"
	"millrace/secure/identity"
	"millrace/secure/sigv4"
	"millrace/secure/trail"
	"millrace/test/harness"
)

const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// presigned is the URL that AWS's library signs for a login.
func (f *fortress) presigned(host, id, secret string, when time.Time) *url.URL {
	f.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://"+host+"/?Action=kafka-cluster%3AConnect&X-Amz-Expires=900", nil)
	must(f.t, err)
	signed, _, err := v4.NewSigner().PresignHTTP(context.Background(), sdk.Credentials{AccessKeyID: id, SecretAccessKey: secret}, r, emptyHash, "kafka-cluster", region, when)
	must(f.t, err)
	u, err := url.Parse(signed)
	must(f.t, err)
	return u
}

// byIAM is the message of AWS_MSK_IAM.
func (f *fortress) byIAM(id, secret string, when time.Time) []byte {
	f.t.Helper()
	host, _, _ := strings.Cut(f.Bootstrap, ":")
	m := map[string]string{"version": "2020_10_22", "host": host, "user-agent": "flood"}
	for k, v := range f.presigned(host, id, secret, when).Query() {
		m[strings.ToLower(k)] = v[0]
	}
	b, err := json.Marshal(m)
	must(f.t, err)
	return b
}

// byToken is the first message of OAUTHBEARER.
func (f *fortress) byToken(id, secret string, when time.Time) []byte {
	f.t.Helper()
	u := f.presigned(sigv4.BearerHost(region), id, secret, when).String() + "&User-Agent=flood"
	return []byte("n,,\x01auth=Bearer " + base64.RawURLEncoding.EncodeToString([]byte(u)) + "\x01\x01")
}

// wrongs are logins that are well made, and wrong.
func (f *fortress) wrongs() []attempt {
	const noID, noSecret = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	now := time.Now()
	old := now.Add(-time.Hour)
	first := []byte("n,,n=" + goodUser + ",r=abcdef")
	return []attempt{
		{portScram, identity.ScramSHA512, first},
		{portIAM, identity.MSKIAM, f.byIAM(f.id, noSecret, now)},
		{portIAM, identity.OAuthBearer, f.byToken(f.id, noSecret, now)},
		{portScram, identity.ScramSHA512, []byte("n,,n=nobody,r=abcdef")},
		{portIAM, identity.MSKIAM, f.byIAM(noID, noSecret, now)},
		{portIAM, identity.OAuthBearer, f.byToken(noID, noSecret, now)},
		{portScram, identity.ScramSHA256, first}, // for which the user has no password
		{portIAM, identity.MSKIAM, f.byIAM(f.id, f.secret, old)},
		{portIAM, identity.OAuthBearer, f.byToken(f.id, f.secret, old)},
	}
}

// TestTheAttemptsWouldGetIn if they were right: or else what is refused below shows nothing.
func TestTheAttemptsWouldGetIn(t *testing.T) {
	f := start(t)
	now, cheap := time.Now(), f.resuming(tls.VersionTLS12)
	for _, a := range []attempt{{portIAM, identity.MSKIAM, f.byIAM(f.id, f.secret, now)}, {portIAM, identity.OAuthBearer, f.byToken(f.id, f.secret, now)}} {
		for range 2 { // the second resumes the session of the first
			if err := f.try("127.0.0.1", cheap[a.step], a); err != nil {
				t.Errorf("%s: %v", a.mechanism, err)
			}
		}
	}
	for _, a := range f.wrongs() {
		if err := f.try("127.0.0.1", f.tls, a); !errors.Is(err, errRefused) {
			t.Errorf("%s, which is wrong: %v", a.mechanism, err)
		}
	}
}

// attackers runs attack n times, many at a time.
func attackers(n, atATime int, attack func(n int)) {
	var all sync.WaitGroup
	var next atomic.Int64
	for range atATime {
		all.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				attack(int(i))
			}
		})
	}
	all.Wait()
}

// resuming is TLS of a version for each listener: a session is resumed where it was made only. It costs an attacker, and the broker, the
// least with TLS 1.2, which has no key exchange then.
func (f *fortress) resuming(version uint16) map[int]*tls.Config {
	all := map[int]*tls.Config{}
	for _, step := range []int{portScram, portIAM} {
		c := f.tls.Clone()
		c.MinVersion, c.MaxVersion = version, version
		c.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		all[step] = c
	}
	return all
}

// badLogins is how many are made: MILLRACE_LOGINS, or what there is time for in CI.
func badLogins(t *testing.T) int {
	t.Helper()
	const inCI = 20_000
	text := os.Getenv("MILLRACE_LOGINS")
	if text == "" {
		return inCI
	}
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}

// TestBadLogins come in great number, of all mechanisms, from many addresses, and some from one that never learns.
func TestBadLogins(t *testing.T) {
	harness.Long(t, "make suite SUITE=security/flood")
	const atATime, addresses, stubborn, modern = 512, 4096, 100, 8
	f := start(t)
	many, wrongs, cheap, dear := badLogins(t), f.wrongs(), f.resuming(tls.VersionTLS12), f.resuming(tls.VersionTLS13)
	var refused, ended, in atomic.Int64
	lines, before := f.told(), f.trailBytes()
	began := time.Now()
	f.besieged(func() {
		attackers(many, atATime, func(n int) {
			from := stranger(rand.IntN(addresses))
			if n%stubborn == 0 {
				from = "127.99.99.99"
			}
			a, as := wrongs[n%len(wrongs)], cheap
			if n%modern == 0 {
				as = dear
			}
			switch err := f.try(from, as[a.step], a); {
			case err == nil:
				in.Add(1)
			case errors.Is(err, errRefused):
				refused.Add(1)
			default:
				ended.Add(1)
			}
		})
	})
	took := time.Since(began)
	grown := f.trailBytes() - before
	t.Logf("%d bad logins, %.0f a second: %d refused, %d cut off; the trail grew by %d KiB, %d bytes each",
		many, float64(many)/took.Seconds(), refused.Load(), ended.Load(), grown>>10, grown/int64(many))
	if in.Load() > 0 {
		t.Errorf("%d got in", in.Load())
	}
	if refused.Load() < int64(many)*9/10 {
		t.Errorf("of %d only %d were refused in Kafka's words", many, refused.Load())
	}
	const each = 250 // bytes: half of a line
	if grown > int64(many)*each {
		t.Errorf("the trail grew by %d bytes with %d logins", grown, many)
	}
	harness.Eventually(t, patience, "the counts of the trail", func(context.Context) error {
		if told := f.told() - lines; told < refused.Load() {
			return errors.New(strconv.FormatInt(told, 10) + " refusals are in the trail")
		}
		return nil
	})
}

// told is how many refused logins the trail tells of, those counted included.
func (f *fortress) told() (n int64) {
	f.t.Helper()
	r := trail.NewReader(disk.OS(f.Dir), "trail", trail.Filter{Kinds: []trail.Kind{trail.Login}, Outcome: trail.Refused})
	must(f.t, r.Next(f.t.Context(), func(e trail.Entry) error {
		n += max(1, e.Count)
		return nil
	}))
	must(f.t, r.Close())
	return n
}

func (f *fortress) trailBytes() (n int64) {
	f.t.Helper()
	must(f.t, filepath.WalkDir(filepath.Join(f.Dir, "trail"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	}))
	return n
}
