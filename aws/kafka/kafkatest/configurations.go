package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"millrace/control"
	"millrace/control/configuration"
)

func logins(auth string) []string {
	if auth == "" {
		return []string{control.LoginPlaintext}
	}
	return strings.Split(auth, ",")
}

// Configurations keeps configurations; it refuses properties that begin with "bad".
type Configurations struct {
	All     map[string]configuration.Configuration // by id
	Texts   map[string][]configuration.Revision    // by id
	Used    map[string]bool                        // ids of those that clusters use
	Changes int                                    // that were let through
	Fail    func(method string) error              // what a method answers before it does anything; nil, or nil from it: it does
}

// NewConfigurations makes a store without any.
func NewConfigurations() *Configurations {
	return &Configurations{
		All: map[string]configuration.Configuration{}, Texts: map[string][]configuration.Revision{}, Used: map[string]bool{},
	}
}

func (s *Configurations) fails(method string, properties []byte) (err error) {
	if s.Fail != nil {
		err = s.Fail(method)
	}
	if err == nil && strings.HasPrefix(string(properties), "bad") {
		err = fmt.Errorf("%w: line 1: bad is not a property that can be set", configuration.ErrInvalid)
	}
	return err
}

// Create makes one.
func (s *Configurations) Create(_ context.Context, spec configuration.Spec) (configuration.Configuration, error) {
	if err := s.fails("Create", spec.Properties); err != nil {
		return configuration.Configuration{}, err
	}
	for _, c := range s.All {
		if c.Name == spec.Name {
			return c, configuration.ErrExists
		}
	}
	s.Changes++
	first := configuration.Revision{Number: 1, Created: Clock(), Description: spec.Description, Properties: spec.Properties}
	c := configuration.Configuration{
		ID: spec.Name + "/" + ID(100+len(s.All)), Name: spec.Name, Description: spec.Description, KafkaVersions: spec.KafkaVersions,
		Created: Clock(), State: configuration.Active, Latest: first,
	}
	s.All[c.ID], s.Texts[c.ID] = c, []configuration.Revision{first}
	return c, nil
}

// Describe returns one, or configuration.ErrNotFound.
func (s *Configurations) Describe(_ context.Context, id string) (configuration.Configuration, error) {
	if err := s.fails("Describe", nil); err != nil {
		return configuration.Configuration{}, err
	}
	c, ok := s.All[id]
	if !ok {
		return c, configuration.ErrNotFound
	}
	return c, nil
}

// List lists all by name.
func (s *Configurations) List(context.Context) ([]configuration.Configuration, error) {
	if err := s.fails("List", nil); err != nil {
		return nil, err
	}
	var all []configuration.Configuration
	for _, id := range slices.Sorted(maps.Keys(s.All)) {
		all = append(all, s.All[id])
	}
	return all, nil
}

// Update adds a revision.
func (s *Configurations) Update(ctx context.Context, id, description string, properties []byte) (configuration.Configuration, error) {
	c, err := s.Describe(ctx, id)
	if err = errors.Join(err, s.fails("Update", properties)); err != nil {
		return c, err
	}
	s.Changes++
	c.Latest = configuration.Revision{Number: c.Latest.Number + 1, Created: Clock(), Description: description, Properties: properties}
	s.All[id], s.Texts[id] = c, append(s.Texts[id], c.Latest)
	return c, nil
}

// Delete deletes one that is not Used.
func (s *Configurations) Delete(ctx context.Context, id string) (configuration.Configuration, error) {
	c, err := s.Describe(ctx, id)
	if err = errors.Join(err, s.fails("Delete", nil)); err != nil {
		return c, err
	}
	if s.Used[id] {
		return c, configuration.ErrInUse
	}
	s.Changes++
	delete(s.All, id)
	c.State = configuration.Deleting
	return c, nil
}

// Revisions lists those of one.
func (s *Configurations) Revisions(ctx context.Context, id string) ([]configuration.Revision, error) {
	if err := s.fails("Revisions", nil); err != nil {
		return nil, err
	}
	_, err := s.Describe(ctx, id)
	return s.Texts[id], err
}

// Revision returns one revision, or configuration.ErrNotFound.
func (s *Configurations) Revision(ctx context.Context, id string, number int64) (configuration.Revision, error) {
	if err := s.fails("Revision", nil); err != nil {
		return configuration.Revision{}, err
	}
	if _, err := s.Describe(ctx, id); err != nil || number < 1 || number > int64(len(s.Texts[id])) {
		return configuration.Revision{}, configuration.ErrNotFound
	}
	return s.Texts[id][number-1], nil
}
