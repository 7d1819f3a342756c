package apply

import (
	"context"
	"fmt"

	"millrace/cmd/managed"
	"millrace/cmd/terminal"
)

// carrier carries a plan out.
type carrier struct {
	*terminal.IO
	api      *managed.Client
	file     *File
	progress *managed.Progress
}

// carry does the changes in their order, and ends at the first that fails (Y4, Y6).
func (c *carrier) carry(ctx context.Context, changes []Change) error {
	past := map[string]string{actionCreate: "created", actionUpdate: "changed", actionDelete: "deleted"}
	for i, ch := range changes {
		if err := ch.run(ctx, c); err != nil {
			rest := ""
			if i > 0 {
				rest = fmt.Sprintf("\n%d of %d changes were made", i, len(changes))
			}
			if ctx.Err() != nil {
				rest += "\nWhat was begun goes on without us; another apply waits for it and goes on from there"
			}
			return c.file.fail(ch.Line, fmt.Errorf("%s %s %s: %w%s", ch.Action, ch.Kind, ch.Name, err, rest))
		}
		c.Say("%s %s: %s", ch.Kind, ch.Name, past[ch.Action])
	}
	return nil
}

// topic makes a change of a topic, and waits until the topic is as it was told.
func (c *carrier) topic(ctx context.Context, cluster string, change func(arn string) error, name string) error {
	in, err := c.api.Find(ctx, cluster)
	if err != nil {
		return err
	}
	if err := change(in.ARN); err != nil {
		return err
	}
	return c.api.TopicActive(ctx, in.ARN, name)
}
