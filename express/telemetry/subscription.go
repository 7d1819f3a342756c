package telemetry

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Errors of configurations. The messages are what the client is told, in Kafka's words.
var (
	// ErrRequest: an unknown key, or a value out of bounds: INVALID_REQUEST.
	ErrRequest = errors.New("invalid request")
	// ErrConfig: a value that cannot be read: INVALID_CONFIG.
	ErrConfig = errors.New("invalid configuration")
)

// refusal is an error whose text is only what the client is told.
type refusal struct {
	text string
	kind error
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }

func refuse(kind error, format string, args ...any) error {
	return &refusal{fmt.Sprintf(format, args...), kind}
}

// Keys of a subscription.
const (
	KeyInterval = "interval.ms"
	KeyMatch    = "match"
	KeyMetrics  = "metrics"
)

const (
	intervalDefaultMs = 5 * 60 * 1000
	intervalLeastMs   = 100
	intervalMostMs    = 60 * 60 * 1000

	// all in the list of metrics stands for every metric.
	all = "*"

	nameMost  = 1024 // bytes of a subscription's name, which becomes part of a key in etcd
	valueMost = 16 << 10
)

// Definition documents a key for DescribeConfigs.
type Definition struct {
	Name, Default, Doc string
	List               bool // else a number
}

// Definitions gives the keys of a subscription, sorted.
func Definitions() []Definition {
	return []Definition{
		{Name: KeyInterval, Default: strconv.Itoa(intervalDefaultMs), Doc: "Metrics push interval in milliseconds"},
		{Name: KeyMatch, List: true, Doc: "Client match criteria"},
		{Name: KeyMetrics, List: true, Doc: "Telemetry metric name prefix list"},
	}
}

// attributes are what a client can be matched by.
func attributes() []string {
	return []string{
		"client_instance_id", "client_id", "client_software_name", "client_software_version", "client_source_address", "client_source_port",
	}
}

// subscription is what clients shall push.
type subscription struct {
	metrics    []string
	intervalMs int32
	match      map[string]*regexp.Regexp
}

// Check says whether configurations make a subscription; the error matches ErrRequest or ErrConfig.
func Check(name string, configs map[string]string) error {
	_, err := parse(name, configs)
	return err
}

func parse(name string, configs map[string]string) (*subscription, error) {
	switch {
	case name == "":
		return nil, refuse(ErrRequest, "Subscription name can't be empty")
	case len(name) > nameMost:
		return nil, refuse(ErrRequest, "Subscription name of %d bytes, at most %d", len(name), nameMost)
	}
	s := &subscription{intervalMs: intervalDefaultMs, match: make(map[string]*regexp.Regexp)}
	for _, key := range slices.Sorted(maps.Keys(configs)) {
		value := configs[key]
		if len(value) > valueMost {
			return nil, refuse(ErrConfig, "Value of %d bytes for configuration %s, at most %d", len(value), clip(key), valueMost)
		}
		var err error
		switch key {
		case KeyMetrics:
			s.metrics = split(value)
		case KeyInterval:
			s.intervalMs, err = parseInterval(value)
		case KeyMatch:
			err = s.parseMatch(value)
		default:
			err = refuse(ErrRequest, "Unknown client metrics configuration: %s", clip(key))
		}
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

func parseInterval(value string) (int32, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 32)
	if err != nil {
		return 0, refuse(ErrConfig, "Invalid value %s for configuration %s: Not a number of type INT", clip(value), KeyInterval)
	}
	if n < intervalLeastMs || n > intervalMostMs {
		return 0, refuse(ErrRequest, "Invalid value %d for %s, interval must be between %d and %d (1 hour)",
			n, KeyInterval, intervalLeastMs, intervalMostMs)
	}
	return int32(n), nil
}

func (s *subscription) parseMatch(value string) error {
	for _, pattern := range split(value) {
		illegal := refuse(ErrConfig, "Illegal client matching pattern: %s", clip(pattern))
		name, text, ok := strings.Cut(pattern, "=")
		if name = strings.TrimSpace(name); !ok || text == "" || strings.Contains(text, "=") || !slices.Contains(attributes(), name) {
			return illegal
		}
		re, err := regexp.Compile("^(?:" + strings.TrimSpace(text) + ")$")
		if err != nil {
			return illegal
		}
		s.match[name] = re
	}
	return nil
}

// split gives the elements of a list.
func split(value string) []string {
	if strings.TrimSpace(value) == "" {
		return nil
	}
	elements := strings.Split(value, ",")
	for i := range elements {
		elements[i] = strings.TrimSpace(elements[i])
	}
	return elements
}

// Table is all subscriptions at one moment. It never changes. The zero value has none.
type Table struct {
	configs       map[string]map[string]string
	subscriptions []*subscription
}

// NewTable makes a table of configurations by name. It keeps the maps, which must not change any more. What does not make a
// subscription is listed and has no effect.
func NewTable(configs map[string]map[string]string) *Table {
	t := &Table{configs: configs}
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		if s, err := parse(name, configs[name]); err == nil {
			t.subscriptions = append(t.subscriptions, s)
		}
	}
	return t
}

// Names lists the subscriptions, sorted.
func (t *Table) Names() []string { return slices.Sorted(maps.Keys(t.configs)) }

// Configs gives what was set for a subscription; nothing for one that does not exist. It must not be changed.
func (t *Table) Configs(name string) map[string]string { return t.configs[name] }

// find joins the subscriptions that match a client.
func (t *Table) find(c Client) (metrics []string, intervalMs int32) {
	intervalMs = intervalDefaultMs
	for _, s := range t.subscriptions {
		if s.matches(c) {
			metrics = append(metrics, s.metrics...)
			intervalMs = min(intervalMs, s.intervalMs)
		}
	}
	slices.Sort(metrics)
	metrics = slices.Compact(metrics)
	if slices.Contains(metrics, all) {
		metrics = []string{all}
	}
	return metrics, intervalMs
}

func (s *subscription) matches(c Client) bool {
	for name, re := range s.match {
		if !re.MatchString(c.attribute(name)) {
			return false
		}
	}
	return true
}

// clip keeps a hostile text from filling answers.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
