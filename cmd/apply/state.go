package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"millrace/cmd/managed"
)

// state is what there is of what a file names.
type state struct {
	configurations map[string]configuration
	clusters       map[string]cluster
}

// configuration is one that there is.
type configuration struct {
	managed.Configuration
	properties map[string]string // of the latest revision
}

// cluster is one that there is.
type cluster struct {
	managed.Cluster
	topics        map[string]topic // those that the file names
	policy        string           // "": none
	policyVersion string
}

// topic is one that there is.
type topic struct {
	managed.Topic
	configs map[string]string
}

// look reads what there is. It waits for what is done to the clusters of the file now: a plan of what changes by itself would be wrong.
func look(ctx context.Context, api *managed.Client, f *File, p *managed.Progress) (state, error) {
	s := state{map[string]configuration{}, map[string]cluster{}}
	known, err := api.Configurations(ctx)
	if err != nil {
		return s, err
	}
	for _, c := range known {
		found := configuration{Configuration: c}
		if want := f.configuration(c.Name); want != nil {
			text, err := api.Properties(ctx, managed.Revision{ARN: c.ARN, Number: c.Latest.Number})
			if err != nil {
				return s, f.fail(want.Line, err)
			}
			found.properties = parseProperties(string(text))
		}
		s.configurations[c.Name] = found
	}
	clusters, err := api.Clusters(ctx, "", "")
	if err != nil {
		return s, err
	}
	for _, c := range clusters {
		want := f.cluster(c.Name)
		if want == nil {
			continue
		}
		found, there, err := settle(ctx, api, c, p)
		if err != nil {
			return s, f.fail(want.Line, err)
		}
		if !there {
			continue
		}
		if s.clusters[c.Name], err = within(ctx, api, found, want); err != nil {
			return s, f.fail(want.Line, err)
		}
	}
	return s, nil
}

// settle waits for what is done to a cluster; there is false where it was deleted.
func settle(ctx context.Context, api *managed.Client, c managed.Cluster, p *managed.Progress) (found managed.Cluster, there bool, err error) {
	switch c.State {
	case managed.Active, managed.Broken:
		return c, true, nil
	case "DELETING":
		p.Say("Cluster %s is DELETING: waiting for the end of it.", c.Name)
		return c, false, api.Gone(ctx, c.ARN, p)
	}
	p.Say("Cluster %s is %s: waiting for the end of it.", c.Name, c.State)
	found, err = api.Settle(ctx, c.ARN, p)
	switch {
	case managed.NotFound(err):
		return c, false, nil
	case errors.Is(err, managed.ErrFailed):
		err = nil // what is to be done about it is the plan's to say
	}
	return found, true, err
}

// within reads what the file names in a cluster.
func within(ctx context.Context, api *managed.Client, found managed.Cluster, want *Cluster) (c cluster, err error) {
	c = cluster{Cluster: found, topics: map[string]topic{}}
	if found.State == managed.Broken {
		return c, nil
	}
	if want.Policy != nil {
		if c.policy, c.policyVersion, err = api.Policy(ctx, found.ARN); err != nil {
			return c, err
		}
	}
	for _, t := range want.Topics {
		there, err := api.Topic(ctx, found.ARN, t.Name)
		if managed.NotFound(err) {
			continue
		}
		if err != nil {
			return c, err
		}
		configs, err := there.Configs()
		if err != nil {
			return c, err
		}
		c.topics[t.Name] = topic{there, configs}
	}
	return c, nil
}

// fail is an error with the line of what it is about (Y6).
func (f *File) fail(line int, err error) error { return fmt.Errorf("%s:%d: %w", f.Path, line, err) }

func (f *File) configuration(name string) *Configuration {
	for _, c := range f.Configurations {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func (f *File) cluster(name string) *Cluster {
	for _, c := range f.Clusters {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// parseProperties reads lines KEY=VALUE as configurations have them.
func parseProperties(text string) map[string]string {
	properties := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "!") {
			continue
		}
		k, v, _ := strings.Cut(line, "=")
		properties[strings.TrimSpace(k)] = strings.TrimSpace(v)
	}
	return properties
}

// writeProperties is the reverse, in one order.
func writeProperties(properties map[string]string) []byte {
	var text strings.Builder
	for _, k := range sortedKeys(properties) {
		text.WriteString(k + "=" + properties[k] + "\n")
	}
	return []byte(text.String())
}
