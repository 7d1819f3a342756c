package configuration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/control"
)

// The limits of Amazon MSK, and some of our own so that records stay small.
const (
	MaxConfigurations = 100
	MaxRevisions      = 50
	maxName           = 64
	maxDescription    = 1024 // characters
	maxVersions       = 32
	maxVersion        = 128 // characters
)

// Users tells who uses a configuration.
type Users interface {
	// UsersOf names the clusters whose settings name the configuration, those of an operation under way included.
	UsersOf(ctx context.Context, id string) ([]string, error)
}

// World is all that a Store touches outside itself.
type World struct {
	KV    kv.KV
	Clock clock.Clock
	Users Users
	Rules Rules
}

// Store keeps configurations. Make one with NewStore; it is safe for concurrent use, also beside others on the same etcd.
type Store struct{ world World }

// NewStore makes a Store.
func NewStore(w World) *Store { return &Store{world: w} }

// Spec is what a configuration is made of.
type Spec struct {
	Name          string // letters, digits and dashes, 1 to 64, a letter or digit first
	Description   string
	KafkaVersions []string
	Properties    []byte
}

// Create makes a configuration with revision 1. Errors: ErrInvalid, ErrExists, ErrLimit.
func (s *Store) Create(ctx context.Context, spec Spec) (Configuration, error) {
	if err := spec.check(); err != nil {
		return Configuration{}, err
	}
	if _, err := Check(spec.Properties, s.world.Rules); err != nil {
		return Configuration{}, err
	}
	now := s.world.Clock.Now().UTC()
	first := Revision{Format: format, Number: 1, Created: now, Description: spec.Description, Properties: spec.Properties}
	c := Configuration{
		Format: format, ID: spec.Name + "/" + uuid.NewString() + "-1", Name: spec.Name, Description: spec.Description,
		KafkaVersions: spec.KafkaVersions, Created: now, State: Active, Latest: first.told(),
	}
	return c, s.retry(ctx, "create configuration "+spec.Name, func() error {
		made, rev, err := read[serial](ctx, s.world.KV, keySerial)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		items, _, err := s.world.KV.List(ctx, dirConfigurations)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(items, func(i kv.Item) bool { return i.Key == configurationKey(spec.Name) }) {
			return ErrExists
		}
		if len(items) >= MaxConfigurations {
			return fmt.Errorf("%w: there are %d configurations", ErrLimit, len(items))
		}
		cond := []kv.Cond{kv.KeyMissing(configurationKey(c.Name)), kv.ModRevEquals(keySerial, rev)}
		_, err = s.world.KV.Txn(ctx, cond, []kv.Op{
			put(configurationKey(c.Name), c), put(revisionKey(c.Name, 1), first), put(keySerial, serial{format, made.Made + 1}),
		})
		return err
	})
}

// check names what is wrong with all but the properties.
func (s Spec) check() error {
	var faults []error
	if !IsName(s.Name) {
		faults = append(faults, fmt.Errorf("%w: name %q: use letters, digits and dashes, at most %d, a letter or digit first", ErrInvalid, clip(s.Name), maxName))
	}
	if len(s.KafkaVersions) > maxVersions {
		faults = append(faults, fmt.Errorf("%w: %d versions of Kafka, at most %d", ErrInvalid, len(s.KafkaVersions), maxVersions))
	}
	for _, v := range s.KafkaVersions {
		if v == "" || len(v) > maxVersion {
			faults = append(faults, fmt.Errorf("%w: version of Kafka %q", ErrInvalid, clip(v)))
			break
		}
	}
	return errors.Join(append(faults, checkDescription(s.Description))...)
}

func checkDescription(text string) error {
	if n := utf8.RuneCountInString(text); n > maxDescription || !utf8.ValidString(text) {
		return fmt.Errorf("%w: a description of %d characters, at most %d", ErrInvalid, n, maxDescription)
	}
	return nil
}

// IsName says whether a configuration can have the name.
func IsName(name string) bool {
	return name != "" && len(name) <= maxName && name[0] != '-' && strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
	}) < 0
}

// Describe returns a configuration, or ErrNotFound.
func (s *Store) Describe(ctx context.Context, id string) (Configuration, error) {
	c, _, err := s.find(ctx, id)
	return c, err
}

// find reads a configuration and the revision of its record.
func (s *Store) find(ctx context.Context, id string) (Configuration, int64, error) {
	name := nameOf(id)
	if !IsName(name) {
		return Configuration{}, 0, fmt.Errorf("%w: %q", ErrNotFound, clip(id))
	}
	c, rev, err := read[Configuration](ctx, s.world.KV, configurationKey(name))
	if err == nil && c.ID != id { // another one that had the name, or has it now
		err = ErrNotFound
	}
	if err != nil {
		return Configuration{}, 0, fmt.Errorf("configuration %s: %w", clip(id), err)
	}
	return c, rev, nil
}

// List returns all configurations by name.
func (s *Store) List(ctx context.Context) ([]Configuration, error) {
	return list[Configuration](ctx, s.world.KV, dirConfigurations)
}

// Update adds a revision. Errors: ErrInvalid, ErrNotFound, ErrState, ErrLimit.
func (s *Store) Update(ctx context.Context, id, description string, properties []byte) (Configuration, error) {
	if err := checkDescription(description); err != nil {
		return Configuration{}, err
	}
	if _, err := Check(properties, s.world.Rules); err != nil {
		return Configuration{}, err
	}
	var c Configuration
	return c, s.retry(ctx, "update configuration "+clip(id), func() error {
		var rev int64
		var err error
		if c, rev, err = s.find(ctx, id); err != nil {
			return err
		}
		if c.State != Active {
			return ErrState
		}
		if c.Latest.Number >= MaxRevisions {
			return fmt.Errorf("%w: there are %d revisions", ErrLimit, c.Latest.Number)
		}
		next := Revision{
			Format: format, Number: c.Latest.Number + 1, Created: s.world.Clock.Now().UTC(), Description: description, Properties: properties,
		}
		c.Latest = next.told()
		key := revisionKey(c.Name, next.Number)
		cond := []kv.Cond{kv.ModRevEquals(configurationKey(c.Name), rev), kv.KeyMissing(key)}
		_, err = s.world.KV.Txn(ctx, cond, []kv.Op{put(configurationKey(c.Name), c), put(key, next)})
		return err
	})
}

// Revisions returns those of a configuration without their properties, the first one first, or ErrNotFound.
func (s *Store) Revisions(ctx context.Context, id string) ([]Revision, error) {
	c, _, err := s.find(ctx, id)
	if err != nil {
		return nil, err
	}
	all, err := list[Revision](ctx, s.world.KV, revisionsOf(c.Name))
	for i := range all {
		all[i] = all[i].told()
	}
	return all, err
}

// Revision returns one revision with its properties, or ErrNotFound.
func (s *Store) Revision(ctx context.Context, id string, number int64) (Revision, error) {
	c, _, err := s.find(ctx, id)
	if err != nil {
		return Revision{}, err
	}
	r, _, err := read[Revision](ctx, s.world.KV, revisionKey(c.Name, number))
	if err != nil {
		return Revision{}, fmt.Errorf("revision %d of configuration %s: %w", number, c.Name, err)
	}
	return r, nil
}

// Holds makes sure that a revision is there and that its configuration is not being deleted: the conditions hold until it is, or gets a
// revision more. Who begins to use one has them in its own write. None for the zero Revision. Errors: ErrNotFound, ErrState.
func (s *Store) Holds(ctx context.Context, r control.Revision) ([]kv.Cond, error) {
	if r == (control.Revision{}) {
		return nil, nil
	}
	c, rev, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	if c.State != Active {
		return nil, fmt.Errorf("configuration %s: %w", c.Name, ErrState)
	}
	if r.Number < 1 || r.Number > c.Latest.Number {
		return nil, fmt.Errorf("revision %d of configuration %s: %w", r.Number, c.Name, ErrNotFound)
	}
	return []kv.Cond{kv.ModRevEquals(configurationKey(c.Name), rev)}, nil
}

// retry repeats a read and write until nobody else has written between the two.
func (s *Store) retry(ctx context.Context, what string, once func() error) error {
	for {
		err := once()
		if err == nil {
			return nil
		}
		if !errors.Is(err, kv.ErrConflict) || ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// read reads a record; ErrNotFound where there is none.
func read[T interface{ version() int }](ctx context.Context, store kv.KV, key string) (record T, rev int64, err error) {
	item, err := store.Get(ctx, key)
	if errors.Is(err, kv.ErrNotFound) {
		return record, 0, ErrNotFound
	}
	if err != nil {
		return record, 0, fmt.Errorf("read %s: %w", key, err)
	}
	record, err = decode[T](item.Value)
	return record, item.ModRev, err
}

// list reads all records below a prefix, by key.
func list[T interface{ version() int }](ctx context.Context, store kv.KV, dir string) ([]T, error) {
	items, _, err := store.List(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	all := make([]T, 0, len(items))
	for _, item := range items {
		r, err := decode[T](item.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", item.Key, err)
		}
		all = append(all, r)
	}
	return all, nil
}

// put writes a record; records always can be encoded.
func put(key string, record any) kv.Op {
	b, err := json.Marshal(record)
	if err != nil {
		panic("configuration: a record that cannot be encoded: " + err.Error())
	}
	return kv.Put(key, b)
}
