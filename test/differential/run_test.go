package differential

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/test/harness"
)

// answer is what a server said to one request.
type answer struct {
	script, label string
	key, version  int16
	outcome       string // "answered", unlisted, or one of the outcomes of a peer
	fields        []field
}

// id names the request among all of a run.
func (a *answer) id() string {
	return fmt.Sprintf("%s/%s %s v%d", a.script, a.label, kmsg.NameForKey(a.key), a.version)
}

// side is one of the two servers.
type side struct {
	t       *testing.T
	name    string
	cluster *harness.Cluster
	listed  map[int16]kmsg.ApiVersionsResponseApiKey
	broker  int32
	port    int32
	topics  topics
	tamper  func(kmsg.Response)
}

// newSide asks a server what it serves and who it is.
func newSide(t *testing.T, name string, cluster *harness.Cluster) *side {
	t.Helper()
	_, text, err := net.SplitHostPort(cluster.Bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	s := &side{t: t, name: name, cluster: cluster, port: int32(port), listed: make(map[int16]kmsg.ApiVersionsResponseApiKey)}
	p := peer{address: cluster.Bootstrap, clientID: "differential", patience: patience}
	defer p.close()
	versions := kmsg.NewPtrApiVersionsRequest()
	versions.Version, versions.ClientSoftwareName, versions.ClientSoftwareVersion = 3, "differential", "1"
	response, err := p.ask(versions)
	if err != nil {
		t.Fatalf("%s: ApiVersions: %v", name, err)
	}
	for _, key := range response.(*kmsg.ApiVersionsResponse).ApiKeys {
		s.listed[key.ApiKey] = key
	}
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.Version = 1
	if response, err = p.ask(metadata); err != nil {
		t.Fatalf("%s: Metadata: %v", name, err)
	}
	s.broker = response.(*kmsg.MetadataResponse).Brokers[0].NodeID
	return s
}

// serves tells whether the server lists the version of the key.
func (s *side) serves(key, version int16) bool {
	listed, ok := s.listed[key]
	return ok && listed.MinVersion <= version && version <= listed.MaxVersion
}

// script is a series of requests that both servers get. What a request needs of an earlier answer it takes from that
// answer, so that it means the same to both. A script shares nothing with the others but the topics of the fixture.
type script struct {
	name string
	run  func(*run)
}

// run is one script's life against one server.
type run struct {
	side    *side
	script  string
	plan    *plan
	symbols *symbols
	peers   map[string]*peer
	answers []answer
	labels  map[string]int
	quiet   bool
	prune   func(kmsg.Response) // takes out of the answers what is not the script's own; nil: nothing
	silent  map[string]bool     // labels of requests that got no answer; they are not sent again at other versions
}

// do runs a script against a server and returns what it said.
func (s *side) do(p *plan, one script) []answer {
	r := &run{
		side: s, script: one.name, plan: p, peers: make(map[string]*peer), labels: make(map[string]int), silent: make(map[string]bool),
		symbols: newSymbols(&s.topics, s.broker, s.port),
	}
	defer func() {
		for _, p := range r.peers {
			p.close()
		}
	}()
	one.run(r)
	return r.answers
}

// peer returns the connection of a name; the name is the client id as well.
func (r *run) peer(name string) *peer {
	p, ok := r.peers[name]
	if !ok {
		p = &peer{address: r.side.cluster.Bootstrap, clientID: name, patience: patience}
		r.peers[name] = p
	}
	return p
}

// ask sends a request on the script's own connection, takes the answer down under a label and returns it.
// An answer that did not come is an empty one, so that a script goes on all the same.
func ask[P kmsg.Response](r *run, label string, version int16, request kmsg.Request) P {
	return askOn[P](r, "differential", label, version, request)
}

// askOn is ask on the connection of a name.
func askOn[P kmsg.Response](r *run, conn, label string, version int16, request kmsg.Request) P {
	request.SetVersion(version)
	a := answer{script: r.script, label: r.unique(label, request.Key(), version), key: request.Key(), version: version, outcome: "answered"}
	var response kmsg.Response
	switch {
	case !r.plan.common(request.Key(), version):
		a.outcome = unlisted
	case r.silent[label]:
		a.outcome = errSilent.Error()
	default:
		var err error
		if response, err = r.peer(conn).ask(request); err != nil {
			a.outcome = err.Error()
			if errors.Is(err, errSilent) {
				r.silent[label] = true
				r.side.t.Logf("%s does not answer %s", r.side.name, a.id())
			}
		}
	}
	if response == nil {
		response = kmsg.ResponseForKey(request.Key())
		response.SetVersion(version)
	} else {
		if r.side.tamper != nil {
			r.side.tamper(response)
		}
		if r.prune != nil {
			r.prune(response)
		}
		a.fields = r.symbols.flatten(response)
	}
	if !r.quiet {
		r.answers = append(r.answers, a)
	}
	return response.(P)
}

// unique makes the n-th request of a label different from the earlier ones.
func (r *run) unique(label string, key, version int16) string {
	id := fmt.Sprint(label, key, version)
	r.labels[id]++
	if n := r.labels[id]; n > 1 {
		label += "#" + strconv.Itoa(n)
	}
	return label
}

// until repeats a request until its answer is good and takes down only the last one. It is for what comes about by itself.
func until[P kmsg.Response](r *run, label string, version int16, request func() kmsg.Request, good func(P) bool) P {
	// Only a fault reaches this: on a busy machine Apache Kafka takes seconds to make the topics of the cluster.
	const most = 30 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	before := len(r.answers)
	for {
		got := ask[P](r, label, version, request())
		if good(got) || ctx.Err() != nil || !r.plan.common(got.Key(), version) {
			return got
		}
		r.answers = r.answers[:before]
		r.labels[fmt.Sprint(label, got.Key(), version)]--
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// unlisted is the outcome of a request that was not sent, because not both servers list its version.
const unlisted = "unlisted"

// plan is what the servers list together.
type plan struct {
	sides    []*side
	versions map[int16][2]int16
}

func newPlan(sides ...*side) *plan {
	p := &plan{sides: sides, versions: make(map[int16][2]int16)}
	for _, s := range sides {
		for key, listed := range s.listed {
			known, ok := p.versions[key]
			if !ok {
				known = [2]int16{listed.MinVersion, listed.MaxVersion}
			}
			p.versions[key] = [2]int16{min(known[0], listed.MinVersion), max(known[1], listed.MaxVersion)}
		}
	}
	return p
}

// common tells whether all servers list a version.
func (p *plan) common(key, version int16) bool {
	for _, s := range p.sides {
		if !s.serves(key, version) {
			return false
		}
	}
	return true
}

// of returns the versions of a key that any of the servers lists and that kmsg knows, from low on.
func (p *plan) of(key kmsg.Key, low int16) []int16 {
	bounds, ok := p.versions[int16(key)]
	if !ok {
		return nil
	}
	var all []int16
	for v := max(low, bounds[0]); v <= min(bounds[1], kmsg.RequestForKey(int16(key)).MaxVersion()); v++ {
		all = append(all, v)
	}
	return all
}

// difference is one field that the servers do not agree on.
type difference struct {
	answer         *answer
	path           string
	kafka, express string
}

func (d difference) String() string {
	return fmt.Sprintf("%s v%d | %s/%s | %s: kafka=%s express=%s",
		kmsg.NameForKey(d.answer.key), d.answer.version, d.answer.script, d.answer.label, d.path, d.kafka, d.express)
}

// compare lists where two series of answers differ.
func compare(kafka, express []answer) (all []difference) {
	byID := make(map[string]*answer, len(express))
	for i := range express {
		byID[express[i].id()] = &express[i]
	}
	for i := range kafka {
		k := &kafka[i]
		e, ok := byID[k.id()]
		if !ok {
			all = append(all, difference{k, "request", "sent", "not sent"})
			continue
		}
		delete(byID, k.id())
		all = append(all, compareAnswers(k, e)...)
	}
	for i := range express {
		if e := &express[i]; byID[e.id()] != nil {
			all = append(all, difference{e, "request", "not sent", "sent"})
		}
	}
	return all
}

const absent = "absent"

func compareAnswers(k, e *answer) (all []difference) {
	if k.outcome != e.outcome {
		return []difference{{k, "outcome", k.outcome, e.outcome}}
	}
	return append(missing(k, k.fields, e.fields, false), missing(k, e.fields, k.fields, true)...)
}

// missing lists the fields of one answer that the other does not have, or not with the same value; those that both have are
// listed only unswapped. Of an element that is missing as a whole its fields are not listed.
func missing(a *answer, fields, others []field, swapped bool) (all []difference) {
	values := make(map[string]string, len(others))
	for _, f := range others {
		values[f.path] = f.value
	}
	gone := "\x00"
	for _, f := range fields {
		value, ok := values[f.path]
		switch {
		case strings.HasPrefix(f.path, gone), ok && (swapped || value == f.value):
			continue
		case !ok:
			value = absent
			if f.value == present {
				gone = f.path + "."
			}
		}
		d := difference{a, f.path, f.value, value}
		if swapped {
			d.kafka, d.express = value, f.value
		}
		all = append(all, d)
	}
	return all
}

// both runs scripts against both servers at a time.
func both(t *testing.T, kafka, express *side, p *plan, scripts []script) (k, e []answer) {
	t.Helper()
	var wait sync.WaitGroup
	for _, one := range []struct {
		side *side
		out  *[]answer
	}{{kafka, &k}, {express, &e}} {
		wait.Go(func() {
			began := time.Now()
			for _, s := range scripts {
				since := time.Now()
				*one.out = append(*one.out, one.side.do(p, s)...)
				if d := time.Since(since); d > 2*time.Second {
					t.Logf("%s: script %s took %v", one.side.name, s.name, d.Round(time.Millisecond))
				}
			}
			t.Logf("%s: %d answers in %v", one.side.name, len(*one.out), time.Since(began).Round(time.Millisecond))
		})
	}
	wait.Wait()
	return k, e
}

// match tells whether a text fits a pattern in which * stands for any text.
func match(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	if !strings.HasPrefix(text, parts[0]) {
		return false
	}
	text = text[len(parts[0]):]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return strings.HasSuffix(text, parts[len(parts)-1])
}
