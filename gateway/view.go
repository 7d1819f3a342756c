package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/wire"
)

var (
	errNoPort  = errors.New("its id is below first-node, or leads beyond port 65535")
	errTooMany = errors.New("more brokers than are served")
)

// node is a broker of the cluster.
type node struct {
	id       int32
	address  string
	versions map[int16][2]int16 // lowest and highest version of each key; nil: not known
}

// view is what is known of the cluster. It does not change; a new one takes its place.
type view struct {
	seen      time.Time // when the cluster was last heard of
	nodes     map[int32]node
	clusterID *string
	api       *kmsg.ApiVersionsResponse // of the broker that was asked last: its features
}

// reach returns the nodes that a session may connect to, in the order to try them. Sessions of the bootstrap port begin with different ones.
func (v *view) reach(id int32, turn uint64) []node {
	if id != anyNode {
		n, ok := v.nodes[id]
		if !ok {
			return nil
		}
		return []node{n}
	}
	ids := slices.Sorted(maps.Keys(v.nodes))
	all := make([]node, 0, len(ids))
	for i := range ids {
		all = append(all, v.nodes[ids[(uint64(i)+turn)%uint64(len(ids))]])
	}
	return all
}

// versions returns what a session's broker serves of a key; for the bootstrap port, what all of them do.
func (v *view) versions(id int32, key int16) (low, high int16, ok bool) {
	if n, known := v.nodes[id]; known && n.versions != nil {
		r, ok := n.versions[key]
		return r[0], r[1], ok
	}
	first := true
	for _, n := range v.nodes {
		if n.versions == nil {
			continue
		}
		r, has := n.versions[key]
		if !has {
			return 0, 0, false
		}
		if first {
			low, high, first = r[0], r[1], false
		}
		low, high = max(low, r[0]), min(high, r[1])
	}
	return low, high, !first && low <= high
}

// learn takes note of where a broker is, as an answer of the cluster says, and opens its ports. It reports whether the node can be reached
// through the gateway.
func (g *Gateway) learn(id int32, address string, _ *string) bool {
	v := g.view.Load()
	n, known := v.nodes[id]
	if known && n.address == address {
		return true
	}
	for _, f := range g.fronts {
		port, ok := g.portOf(f, id)
		if !ok {
			g.complain("a broker has no port", errNoPort, "node", id, "listener", f.Name)
			return false
		}
		if !known && len(v.nodes) >= g.cfg.MostNodes {
			g.complain("a broker has no port", errTooMany, "node", id, "most", g.cfg.MostNodes)
			return false
		}
		if err := g.open(f, port); err != nil {
			g.complain("a broker has no port", err, "node", id)
			return false
		}
	}
	g.change(func(v *view) {
		if len(v.nodes) < g.cfg.MostNodes || known {
			v.nodes[id] = node{id: id, address: address}
		}
	})
	return true
}

// change replaces the view by one that f has changed.
func (g *Gateway) change(f func(*view)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := *g.view.Load()
	v.nodes = maps.Clone(v.nodes)
	f(&v)
	g.view.Store(&v)
}

// ClusterID asks the brokers of cfg for the cluster's id: what its ARN ends with.
func ClusterID(ctx context.Context, cfg Config, w World) (string, error) {
	if err := cfg.Validate(); err != nil {
		return "", err
	}
	if w.Dial == nil {
		w.Dial = (&net.Dialer{}).DialContext
	}
	asks := newWatch(&Gateway{cfg: cfg, world: w, decoder: wire.NewDecoder(0)})
	defer asks.close()
	err := errNoBroker
	for _, address := range cfg.Upstream {
		told, askErr := asks.brokers(ctx, address)
		if askErr == nil && told.ClusterID != nil {
			return *told.ClusterID, nil
		}
		err = errors.Join(err, askErr)
	}
	return "", err
}

// watch asks the cluster from time to time for its brokers, their versions, and quotas. It has a connection to each broker.
type watch struct {
	g     *Gateway
	conns map[string]*wireConn
}

func newWatch(g *Gateway) *watch { return &watch{g: g, conns: map[string]*wireConn{}} }

// run asks until ctx ends.
func (w *watch) run(ctx context.Context) {
	defer w.close()
	tick := time.NewTicker(w.g.cfg.Refresh)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := w.refresh(ctx); err != nil && ctx.Err() == nil {
			w.g.world.Log.Warn("cluster does not answer", "err", err)
		}
	}
}

func (w *watch) close() {
	for _, c := range w.conns {
		c.close()
	}
}

// refresh asks once. The first broker that answers tells of all; then each is asked for its versions.
func (w *watch) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, max(2*w.g.cfg.DialTimeout, w.g.cfg.Refresh))
	defer cancel()
	err := errNoBroker
	for _, address := range w.addresses() {
		told, askErr := w.brokers(ctx, address)
		if askErr != nil {
			err = errors.Join(err, askErr)
			continue
		}
		if applyErr := w.apply(ctx, told); applyErr != nil {
			return applyErr
		}
		w.askQuotas(ctx, address)
		return nil
	}
	return err
}

// addresses returns whom to ask: the known brokers, then those of the configuration.
func (w *watch) addresses() []string {
	v := w.g.view.Load()
	var all []string
	for _, id := range slices.Sorted(maps.Keys(v.nodes)) {
		all = append(all, v.nodes[id].address)
	}
	for _, u := range w.g.cfg.Upstream {
		if !slices.Contains(all, u) {
			all = append(all, u)
		}
	}
	return all
}

// conn returns the connection to an address.
func (w *watch) conn(ctx context.Context, address string) (*wireConn, error) {
	if c := w.conns[address]; c != nil {
		return c, nil
	}
	c, err := w.g.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	w.conns[address] = c
	return c, nil
}

// ask asks at an address. After a fault the connection is made anew, once, if it is an old one that may have died unnoticed.
func (w *watch) ask(ctx context.Context, address string, req kmsg.Request) (kmsg.Response, error) {
	for {
		_, old := w.conns[address]
		c, err := w.conn(ctx, address)
		if err != nil {
			return nil, err
		}
		resp, err := c.ask(ctx, req)
		if err == nil {
			return resp, nil
		}
		c.close()
		delete(w.conns, address)
		if !old || ctx.Err() != nil {
			return nil, fmt.Errorf("ask %s: %w", address, err)
		}
	}
}

// metadataVersion is what every broker since 2.8 serves, with topic ids that may be asked for.
const metadataVersion = 12

func (w *watch) brokers(ctx context.Context, address string) (*kmsg.MetadataResponse, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.Topics, req.AllowAutoTopicCreation = metadataVersion, []kmsg.MetadataRequestTopic{}, false
	resp, err := w.ask(ctx, address, req)
	if err != nil {
		return nil, err
	}
	return resp.(*kmsg.MetadataResponse), nil
}

// apply makes the view what the cluster has told. Brokers that are gone leave; their ports stay, for they come back.
func (w *watch) apply(ctx context.Context, told *kmsg.MetadataResponse) error {
	g := w.g
	if len(told.Brokers) == 0 {
		return fmt.Errorf("%w: the cluster has none", errNoBroker)
	}
	present, reachable := map[int32]bool{}, false
	for _, b := range told.Brokers {
		present[b.NodeID] = true
		address := net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		if !g.learn(b.NodeID, address, b.Rack) {
			continue
		}
		reachable = true
		versions, api := w.versions(ctx, address)
		g.change(func(v *view) {
			n := v.nodes[b.NodeID]
			if versions != nil {
				n.versions = versions
				v.api = api
			}
			v.nodes[b.NodeID] = n
		})
	}
	if !reachable {
		return fmt.Errorf("%w: no broker has a port of the gateway", errNoBroker)
	}
	now := g.world.Clock.Now()
	g.change(func(v *view) {
		v.seen, v.clusterID = now, told.ClusterID
		maps.DeleteFunc(v.nodes, func(id int32, _ node) bool { return !present[id] })
	})
	return nil
}

// versions asks one broker what it serves; nil if it does not answer.
func (w *watch) versions(ctx context.Context, address string) (map[int16][2]int16, *kmsg.ApiVersionsResponse) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 4, clientID, "1"
	resp, err := w.ask(ctx, address, req)
	if err != nil { // before version 4, what is told of features is less; an older broker answers in version 0, which cannot be read as 4
		req.Version = 3
		if resp, err = w.ask(ctx, address, req); err != nil {
			return nil, nil
		}
	}
	api := resp.(*kmsg.ApiVersionsResponse)
	versions := make(map[int16][2]int16, len(api.ApiKeys))
	for _, k := range api.ApiKeys {
		versions[k.ApiKey] = [2]int16{k.MinVersion, k.MaxVersion}
	}
	return versions, api
}

// askQuotas follows the quotas of users, which the cluster cannot keep itself: it sees one user, the gateway.
func (w *watch) askQuotas(ctx context.Context, address string) {
	req := kmsg.NewPtrDescribeClientQuotasRequest()
	req.Version = 1
	if _, high, ok := w.g.view.Load().versions(anyNode, req.Key()); !ok || high < 1 {
		return
	}
	component := kmsg.NewDescribeClientQuotasRequestComponent()
	component.EntityType, component.MatchType = "user", kmsg.QuotasMatchTypeAny
	req.Components = append(req.Components, component)
	resp, err := w.ask(ctx, address, req)
	if err != nil {
		w.g.world.Log.Warn("quotas not read", "err", err)
		return
	}
	if quotas := resp.(*kmsg.DescribeClientQuotasResponse); quotas.ErrorCode == 0 {
		w.g.quotas.Follow(quotas.Entries)
	}
}
