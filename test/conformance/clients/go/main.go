// Command client drives one of the Go client libraries for Kafka by the line protocol of test/conformance.
//
// Usage: client LIBRARY BOOTSTRAP, with LIBRARY one of franz-go, sarama, kafka-go. It reads one request a line from standard
// input and writes one answer a line to standard output; see clients/README.md.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"
)

// errUsage is returned for a wrong command line.
var errUsage = errors.New("usage: client franz-go|sarama|kafka-go BOOTSTRAP")

// operation carries out one request and returns the result to encode.
type operation func(ctx context.Context, r request) (any, error)

// driver is one client library behind the protocol.
type driver struct {
	module     string // module path, for its version
	operations map[string]operation
	code       func(error) (int16, bool) // Kafka's error number in an error of the library
	codecs     []string
	features   []string
}

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	if len(os.Args) != 3 {
		return errUsage
	}
	d, err := newDriver(os.Args[1], os.Args[2])
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(d.hello(os.Args[1])); err != nil {
		return err
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return nil // the test closed the input: done
		}
		if err := out.Encode(d.answer(line)); err != nil {
			return err
		}
	}
}

func newDriver(library, bootstrap string) (*driver, error) {
	switch library {
	case "franz-go":
		return newFranz(bootstrap)
	case "sarama":
		return newSarama(bootstrap)
	case "kafka-go":
		return newSegment(bootstrap)
	}
	return nil, errUsage
}

func (d *driver) hello(library string) hello {
	h := hello{Client: library, Version: "unknown", Codecs: d.codecs, Features: d.features}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range info.Deps {
			if dependency.Path == d.module {
				h.Version = dependency.Version
			}
		}
	}
	for name := range d.operations {
		h.Operations = append(h.Operations, name)
	}
	return h
}

func (d *driver) answer(line []byte) answer {
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return failed(localError, err)
	}
	run, ok := d.operations[r.Op]
	if !ok {
		return failed(localError, fmt.Errorf("unknown operation %q", r.Op))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.Seconds)*time.Second)
	defer cancel()
	result, err := run(ctx, r)
	if err != nil {
		if code, ok := d.code(err); ok {
			return failed(int(code), err)
		}
		return failed(localError, err)
	}
	if result == nil {
		result = struct{}{}
	}
	return answer{Result: result}
}
