package access

import (
	"context"
	"errors"
	"maps"
	"strings"
	"unicode/utf8"

	"millrace/aws/arn"
	"millrace/aws/door"
	"millrace/aws/kafka/fault"
	"millrace/control"
)

// The limits of AWS.
const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
)

// checkTags names what is wrong with the tags that a resource would have.
func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return door.BadRequest("tags", "A resource can have at most %d tags.", maxTags)
	}
	for k, v := range tags {
		switch {
		case k == "" || utf8.RuneCountInString(k) > maxTagKey:
			return door.BadRequest("tags", "The key of a tag must have 1 to %d characters.", maxTagKey)
		case utf8.RuneCountInString(v) > maxTagValue:
			return door.BadRequest("tags", "The value of a tag can have at most %d characters.", maxTagValue)
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return door.BadRequest("tags", "The key of a tag can't begin with aws:.")
		}
	}
	return nil
}

// errOnlyRead ends a change that is none.
var errOnlyRead = errors.New("only read")

// configurationTags are those of a configuration.
type configurationTags struct {
	Format int               `json:"format"`
	ID     string            `json:"id"` // of the configuration: another one with the name does not have them
	Tags   map[string]string `json:"tags"`
}

func (c configurationTags) version() int { return c.Format }

func configurationTagsKey(id string) string {
	name, _, _ := strings.Cut(id, "/")
	return "control/configuration-tags/" + name
}

// changing changes tags: it gets those that there are, and returns those that there shall be.
type changing = func(now map[string]string) (map[string]string, error)

// Tags are those of the resource of an ARN. Errors are *door.Error where the client is at fault.
func (s *Service) Tags(ctx context.Context, name string) (map[string]string, error) {
	var all map[string]string
	err := s.editTags(ctx, name, func(now map[string]string) (map[string]string, error) {
		all = maps.Clone(now)
		return nil, errOnlyRead
	})
	if err != nil && !errors.Is(err, errOnlyRead) {
		return nil, err
	}
	if all == nil {
		all = map[string]string{}
	}
	return all, nil
}

// editTags changes the tags of what an ARN names.
func (s *Service) editTags(ctx context.Context, name string, change changing) error {
	r, err := s.home.Find(name, arn.Cluster, arn.Configuration, arn.VPCConnection)
	if err != nil {
		return fault.ARN("resourceArn", err)
	}
	switch r.Kind {
	case arn.Cluster:
		c, err := s.find(ctx, "resourceArn", name)
		if err != nil {
			return err
		}
		return s.world.IAM.EditClusterTags(ctx, control.Prefix(c.Name), func(now map[string]string) (map[string]string, error) {
			if now == nil {
				now = c.Tags // those that it was made with
			}
			return change(now)
		})
	case arn.Configuration:
		c, err := s.world.Configurations.Describe(ctx, r.Tail())
		if err != nil {
			return err
		}
		_, err = edit(ctx, s.world.KV, configurationTagsKey(c.ID), func(t *configurationTags) (bool, error) {
			if t.ID != c.ID {
				*t = configurationTags{Format: format, ID: c.ID}
			}
			t.Tags, err = change(t.Tags)
			return true, err
		})
		return err
	default:
		c, err := s.connection(ctx, "resourceArn", name)
		if err != nil {
			return err
		}
		return s.world.Connections.Tag(ctx, c.ID, change)
	}
}

// listTags is ListTagsForResource.
func (s *Service) listTags(ctx context.Context, c *door.Call) (any, error) {
	all, err := s.Tags(ctx, c.Params["resourceArn"])
	if err != nil {
		return nil, err
	}
	return struct {
		Tags map[string]string `json:"tags"`
	}{all}, nil
}

// tagResource is TagResource.
func (s *Service) tagResource(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[struct {
		Tags map[string]string `json:"tags" aws:"required"`
	}](c)
	if err != nil {
		return nil, err
	}
	if err := checkTags(r.Tags); err != nil {
		return nil, err
	}
	return nil, s.changeTags(ctx, c, func(now map[string]string) { maps.Copy(now, r.Tags) })
}

// untagResource is UntagResource.
func (s *Service) untagResource(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[struct {
		Keys []string `query:"tagKeys" aws:"required,min=1"`
	}](c)
	if err != nil {
		return nil, err
	}
	return nil, s.changeTags(ctx, c, func(now map[string]string) {
		for _, k := range r.Keys {
			delete(now, k)
		}
	})
}

func (s *Service) changeTags(ctx context.Context, c *door.Call, change func(map[string]string)) error {
	var before, after map[string]string
	err := s.editTags(ctx, c.Params["resourceArn"], func(now map[string]string) (map[string]string, error) {
		before, after = maps.Clone(now), map[string]string{}
		maps.Copy(after, now)
		change(after)
		return after, checkTags(after)
	})
	if err == nil {
		c.Changed(before, after)
	}
	return err
}
