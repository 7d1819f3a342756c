package apply

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"millrace/cmd/managed"
)

// Actions of changes.
const (
	actionCreate = "create"
	actionUpdate = "update"
	actionDelete = "delete"
)

// Change is one step of a plan: one call of the API and the wait for its end.
type Change struct {
	Action  string   `json:"action"` // create, update or delete
	Kind    string   `json:"kind"`   // configuration, cluster, topic, tags or policy
	Name    string   `json:"name"`   // "orders", of a topic "orders/payments"
	Details []string `json:"details,omitempty"`
	Line    int      `json:"line"` // of the file

	run func(ctx context.Context, c *carrier) error
}

// planner gathers what is to be done.
type planner struct {
	file    *File
	now     state
	faults  faults
	changes []Change
	revised map[string]bool // configurations that get another revision by this plan
}

// plan is what is to be done so that there is what the file says (Y3, Y5). Its error is ErrFile where that cannot be.
func plan(f *File, now state) ([]Change, error) {
	p := &planner{file: f, now: now, faults: faults{path: f.Path}, revised: map[string]bool{}}
	for _, c := range f.Configurations {
		p.configuration(c)
	}
	for _, c := range f.Clusters {
		p.cluster(c)
	}
	return p.changes, p.faults.err()
}

// planDelete is what is to be done so that there is nothing of what the file names.
func planDelete(f *File, now state) []Change {
	p := &planner{file: f, now: now}
	for _, c := range f.Clusters {
		there, ok := now.clusters[c.Name]
		if !ok {
			continue
		}
		p.add(actionDelete, "cluster", c.Name, c.Line, []string{"with all its topics and records"}, func(ctx context.Context, w *carrier) error {
			if err := w.api.Delete(ctx, there.ARN, ""); err != nil {
				return err
			}
			return w.api.Gone(ctx, there.ARN, w.progress)
		})
	}
	for _, c := range f.Configurations {
		there, ok := now.configurations[c.Name]
		if !ok {
			continue
		}
		p.add(actionDelete, "configuration", c.Name, c.Line, []string{fmt.Sprintf("with %d revision(s)", there.Latest.Number)}, func(ctx context.Context, w *carrier) error {
			return w.api.DeleteConfiguration(ctx, there.ARN)
		})
	}
	return p.changes
}

func (p *planner) add(action, kind, name string, line int, details []string, run func(context.Context, *carrier) error) {
	p.changes = append(p.changes, Change{Action: action, Kind: kind, Name: name, Details: details, Line: line, run: run})
}

func (p *planner) configuration(c *Configuration) {
	there, ok := p.now.configurations[c.Name]
	text := writeProperties(c.Properties)
	if !ok {
		p.add(actionCreate, "configuration", c.Name, c.Line, differences(nil, c.Properties), func(ctx context.Context, w *carrier) error {
			_, err := w.api.CreateConfiguration(ctx, managed.Configuration{
				Name: c.Name, Description: c.Description, KafkaVersions: c.KafkaVersions, Properties: text,
			})
			return err
		})
		return
	}
	if c.has("kafkaVersions") && !sameSet(c.KafkaVersions, there.KafkaVersions) {
		p.faults.add(c.at("kafkaVersions"), "configuration %s is for [%s]: that is fixed when it is made; make one of another name",
			c.Name, strings.Join(there.KafkaVersions, ", "))
	}
	if maps.Equal(there.properties, c.Properties) {
		return
	}
	p.revised[c.Name] = true
	p.add(actionUpdate, "configuration", c.Name, c.Line, differences(there.properties, c.Properties), func(ctx context.Context, w *carrier) error {
		_, err := w.api.Revise(ctx, there.ARN, c.Description, text)
		return err
	})
}

// differences tells people what two maps do not have alike.
func differences(before, after map[string]string) (list []string) {
	both := maps.Clone(after)
	if both == nil {
		both = map[string]string{}
	}
	maps.Copy(both, before)
	for _, k := range sortedKeys(both) {
		old, was := before[k]
		now, is := after[k]
		switch {
		case !was:
			list = append(list, fmt.Sprintf("%s: %s", k, now))
		case !is:
			list = append(list, fmt.Sprintf("%s: %s -> (not set)", k, old))
		case old != now:
			list = append(list, fmt.Sprintf("%s: %s -> %s", k, old, now))
		}
	}
	return list
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
