package churn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/robust/tenure"
)

const (
	topic = "work"
	group = "workers"
)

// Protocol is how a member takes part in the group.
type Protocol string

// The protocols.
const (
	Eager       Protocol = "eager"       // classic, range, everything is revoked in each rebalance
	Cooperative Protocol = "cooperative" // classic, cooperative-sticky
	Consumer    Protocol = "consumer"    // KIP-848, the coordinator assigns uniformly
	Range       Protocol = "range"       // KIP-848, the coordinator assigns ranges
)

// Config says what load is made. The zero value of a field takes its default.
type Config struct {
	Bootstrap  string        // HOST:PORT of brokers, separated by commas; no default
	Protocols  []Protocol    // of the members, in turn; no default
	Partitions int           // default 150: members have two or three each, so that one that comes takes some from others
	Members    int           // on average; default 50
	Rate       int           // records per second; default 2,000
	Life       time.Duration // average of a member; default 5s
	Session    time.Duration // session timeout of members; default 6s, the least that Kafka takes by default
	Leave      bool          // members only leave, none crashes or freezes
	// Away: brokers, coordinators too, may be away for a while. A client may give its membership up by itself then, so that a loss of it
	// says nothing of the coordinator (G2), and a leave may be forgotten (G5): members that have left do not try to commit.
	Away bool
	Logs string // folder for the logs of the members' clients; empty means none
}

func (c Config) withDefaults() Config {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	set(&c.Partitions, 150)
	set(&c.Members, 50)
	set(&c.Rate, 2000)
	if c.Life == 0 {
		c.Life = 5 * time.Second
	}
	if c.Session == 0 {
		c.Session = 6 * time.Second
	}
	return c
}

// Churn is a running load.
type Churn struct {
	config   Config
	registry *tenure.Registry
	topicID  kadm.TopicID
	members  sync.WaitGroup
	stream   sync.WaitGroup
	monitors sync.WaitGroup
	// Closing time comes in steps: members stay, no more records, members leave, no more requests.
	calm, noRecords, noWork, gone          context.Context
	stopChurn, stopStream, stopWork, stop_ context.CancelFunc

	mu     sync.Mutex // guards what follows
	told   map[string]int
	ends   map[fate]int
	faults []error
}

// Start makes the topic and begins the load. The load goes on until Drain or Stop, which the caller must call.
func Start(ctx context.Context, config Config) (*Churn, error) {
	config = config.withDefaults()
	c := &Churn{config: config, registry: tenure.New(config.Partitions), told: make(map[string]int), ends: make(map[fate]int)}
	if err := c.setUp(ctx); err != nil {
		return nil, err
	}
	c.gone, c.stop_ = context.WithCancel(ctx)
	c.noWork, c.stopWork = context.WithCancel(c.gone)
	c.noRecords, c.stopStream = context.WithCancel(c.noWork)
	c.calm, c.stopChurn = context.WithCancel(c.noWork)
	c.monitors.Go(c.readLog)
	c.monitors.Go(c.ask)
	c.stream.Go(c.produce)
	for i := range places(config.Members) {
		protocol := config.Protocols[i%len(config.Protocols)]
		c.members.Go(func() { c.fill(protocol) })
	}
	return c, nil
}

// places is how many places there are in the group for so many members on average: one in three is empty.
func places(members int) int { return members * 3 / 2 }

// options returns the options of a client.
func (c *Churn) options(more ...kgo.Opt) []kgo.Opt {
	return append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(c.config.Bootstrap, ",")...),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.AlwaysRetryEOF(),
	}, more...)
}

// setUp makes the topic, and the group's session for those protocols whose sessions are the coordinator's to say.
func (c *Churn) setUp(ctx context.Context) error {
	client, err := kgo.NewClient(c.options()...)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	admin := kadm.NewClient(client)
	_, err = admin.CreateTopic(ctx, int32(c.config.Partitions), 1, nil, topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	made, err := admin.ListTopics(ctx, topic)
	if err != nil {
		return fmt.Errorf("list topic %s: %w", topic, err)
	}
	c.topicID = made[topic].ID
	// The topic of offsets is made when it is first asked for.
	if err := poll(ctx, func() error { return admin.FindGroupCoordinators(ctx, group).Error() }); err != nil {
		return fmt.Errorf("find coordinator: %w", err)
	}
	return nil
}

// Registry returns what was done and seen so far.
func (c *Churn) Registry() *tenure.Registry { return c.registry }

// note counts an error that a member was told; a correct cluster may tell it in the middle of a rebalance.
func (c *Churn) note(what string, err error) {
	if c.gone.Err() != nil {
		return
	}
	text := "accepted"
	var answer *kerr.Error
	switch {
	case errors.As(err, &answer):
		text = answer.Message
	case err != nil:
		text = err.Error()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told[what+": "+text]++
	if errors.Is(err, kerr.UnknownServerError) {
		c.faults = append(c.faults, fmt.Errorf("%s: %w", what, err))
	}
}

// Told returns, sorted, the errors that members were told and how members ended, with how often.
func (c *Churn) Told() (lines []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, end := range slices.Sorted(maps.Keys(c.ends)) {
		lines = append(lines, fmt.Sprintf("%5d members: %s", c.ends[end], end))
	}
	for _, what := range slices.Sorted(maps.Keys(c.told)) {
		lines = append(lines, fmt.Sprintf("%5d %s", c.told[what], what))
	}
	return lines
}

// fault notes something that no client of a correct cluster would have been told.
func (c *Churn) fault(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, err)
}

// Faults returns the errors that no client of a correct cluster would have been told.
func (c *Churn) Faults() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	const shown = 10
	return errors.Join(c.faults[:min(shown, len(c.faults))]...)
}

// Drain ends the load: the members of the moment stay; no new records; once all are consumed and committed, everyone leaves.
func (c *Churn) Drain(ctx context.Context) error {
	defer c.Stop()
	defer context.AfterFunc(ctx, c.stop_)()
	c.stopChurn()
	c.stopStream()
	c.stream.Wait()
	if err := poll(ctx, c.registry.Finished); err != nil {
		return fmt.Errorf("wait until all is committed: %w", err)
	}
	c.stopWork()
	c.members.Wait()
	return nil
}

// Stop ends the load at once. It is safe after Drain.
func (c *Churn) Stop() {
	c.stop_()
	c.stream.Wait()
	c.members.Wait()
	c.monitors.Wait()
}

// poll calls check until it is nil, and returns its last error when ctx ends first.
func poll(ctx context.Context, check func() error) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, ctx.Err())
		case <-ticker.C:
		}
	}
}
