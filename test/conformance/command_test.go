package conformance

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// errUnknownOperation is returned for an operation that a client does not offer.
var errUnknownOperation = errors.New("the client does not offer this operation")

// commandClient is a client whose operations are commands of their own.
type commandClient struct {
	hello      hello
	operations map[string]func(context.Context, request) (any, error)
}

func (c *commandClient) about() hello { return c.hello }

func (c *commandClient) call(ctx context.Context, r request, out any) error {
	run, ok := c.operations[r.Op]
	if !ok {
		return fmt.Errorf("%s: %w", r.Op, errUnknownOperation)
	}
	if r.Seconds == 0 {
		r.Seconds = operationSeconds
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.Seconds)*time.Second)
	defer cancel()
	result, err := run(ctx, r)
	if err != nil {
		return err
	}
	return transfer(result, out)
}

// runCommand runs a program to its end with input as its standard input. It returns what went to standard output and,
// apart, to standard error; a program that fails gives a clientError whose code is told from what it said by codeOf.
func runCommand(ctx context.Context, input []byte, program string, args ...string) (stdout, stderr string, err error) {
	command := exec.CommandContext(ctx, program, args...)
	command.Stdin = bytes.NewReader(input)
	var out, said strings.Builder
	command.Stdout, command.Stderr = &out, &said
	if err := command.Run(); err != nil {
		text := out.String() + said.String()
		return "", "", &clientError{Code: codeOf(text), Message: fmt.Sprintf("%v: %s", err, tail(text))}
	}
	return out.String(), said.String(), nil
}

// codeOf finds the error in what a program said, by the name that librdkafka or the Java tools give it.
func codeOf(text string) int16 {
	for _, known := range []struct {
		said string
		code int16
	}{
		{"OffsetOutOfRangeException", 1}, {"UnknownTopicOrPartitionException", 3}, {"Unknown topic or partition", 3},
		{"InvalidTopicException", 17}, {"TopicExistsException", 36}, {"InvalidPartitionsException", 37},
		{"InvalidConfigurationException", 40}, {"GroupNotEmptyException", 68}, {"GroupIdNotFoundException", 69},
		{"failed because the ID could not be found", 105},
	} {
		if strings.Contains(text, known.said) {
			return known.code
		}
	}
	return localError
}

// eachLine runs a program to its end and gives each line that it prints, without the newline, to each.
func eachLine(ctx context.Context, each func(line []byte) error, program string, args ...string) error {
	command := exec.CommandContext(ctx, program, args...)
	var said strings.Builder
	command.Stderr = &said
	printed, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(printed)
	lines.Buffer(make([]byte, 1<<20), 1<<20)
	var faulty error
	for lines.Scan() {
		if faulty == nil { // a faulty line does not end the reading: the program must not be stuck writing
			faulty = each(lines.Bytes())
		}
	}
	if err := command.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, tail(said.String()))
	}
	return errors.Join(faulty, lines.Err())
}

// addLine adds a line that is the key, a tab and the value.
func (d *digests) addLine(topic string, line []byte) error {
	key, value, ok := bytes.Cut(line, []byte{'\t'})
	if !ok {
		return fmt.Errorf("%s: no tab in %q", topic, line)
	}
	d.add(topic, key, value)
	return nil
}
