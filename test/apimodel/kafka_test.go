package apimodel

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"millrace/aws/kafka/kafkatest"
	"millrace/control"
	"millrace/control/configuration"
	"millrace/kafka/kerr"
	"millrace/test/harness"
)

// call is what the script is told of one.
type call struct {
	Name      string            `json:"name"`
	Operation string            `json:"operation"`
	Params    map[string]string `json:"params"`
	Query     url.Values        `json:"query"`
	Body      string            `json:"body"`
	Answer    string            `json:"answer"`
}

// verdict is what the script says.
type verdict struct {
	Table []struct {
		Name, Method, Path string
		Status             int
		Errors             [][2]any
	}
	Faults []string
	Bad    []struct {
		Call, Field, Why, Body string
		Params                 map[string]string
		Query                  url.Values
	}
}

// judge has the script judge the scenario.
func judge(t *testing.T, calls []found) verdict {
	t.Helper()
	python := harness.Require(t, harness.Python)
	asked := make([]call, 0, len(calls))
	for _, f := range calls {
		asked = append(asked, f.call)
	}
	input, err := json.Marshal(map[string]any{"calls": asked})
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(t.Context(), python, "testdata/model.py")
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(input), &stdout, &stderr
	if err := command.Run(); err != nil {
		t.Fatalf("model.py: %v\n%s", err, stderr.Bytes())
	}
	var v verdict
	if err := json.Unmarshal(stdout.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// access are the operations of the model that another room has.
func access(name string) bool {
	for _, word := range []string{"ScramSecret", "ClusterPolicy", "VpcConnection", "TagResource", "UntagResource", "TagsForResource"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// TestKafkaModel: invariant K1 of aws/kafka, and K2 for everything that the model says of requests.
func TestKafkaModel(t *testing.T) {
	calls := play(t)
	v := judge(t, calls)
	t.Run("table", func(t *testing.T) { sameTable(t, v) })
	t.Run("answers", func(t *testing.T) {
		for _, fault := range v.Faults {
			t.Error(fault)
		}
	})
	t.Run("bad requests", func(t *testing.T) { refusesBad(t, v, calls) })
	t.Run("errors", func(t *testing.T) { declaresErrors(t, v, calls) })
}

// faults are what can go wrong below an operation, each of its kind.
func faults(operation string) []error {
	all := []error{
		control.ErrNoCluster, control.ErrNoOperation, control.ErrExists, control.ErrVersion, control.ErrBusy, control.ErrState, control.ErrLimit,
		control.ErrSpec, control.ErrLost, context.DeadlineExceeded, io.ErrUnexpectedEOF, configuration.ErrNotFound, configuration.ErrInUse,
		configuration.ErrExists, configuration.ErrState, configuration.ErrLimit, configuration.ErrInvalid, configuration.ErrServerless,
	}
	if strings.Contains(operation, "Topic") {
		for code := kerr.Code(1); code.Known(); code++ {
			all = append(all, code)
		}
	}
	return all
}

// once fails the first call of a method.
type once struct {
	method string
	fault  error
	calls  int
}

func (o *once) fail(method string) error {
	if method != o.method {
		return nil
	}
	if o.calls++; o.calls > 1 {
		return nil
	}
	return fmt.Errorf("within: %w", o.fault)
}

// declaresErrors: whatever goes wrong, an operation answers with what its model declares, or leaves it to the door to say nothing of it.
func declaresErrors(t *testing.T, v verdict, calls []found) {
	declared := map[string]bool{}
	for _, op := range v.Table {
		for _, e := range op.Errors {
			declared[fmt.Sprint(op.Name, e[0], e[1])] = true
		}
	}
	methods := []string{
		"Create", "Delete", "Cluster", "Clusters", "Begin", "Operation", "OperationsOf", "Nodes", "Endpoints",
		"Describe", "List", "Update", "Revisions", "Revision", "Configure", "Extend", "Partitions",
	}
	answers := map[string]int{}
	for _, c := range calls {
		for _, method := range methods {
			for _, fault := range faults(c.Operation) {
				w := c.world.Copy()
				o := &once{method: method, fault: fault}
				w.Plane.Fail, w.Configurations.Fail, w.Topics.Fail = o.fail, o.fail, o.fail
				status, answer, err := w.Call(t.Context(), c.step.Ask)
				if o.calls == 0 {
					break // the operation does not use the method
				}
				if err != nil || status == http.StatusOK {
					continue
				}
				var told struct{ Code string }
				if err := json.Unmarshal(answer, &told); err != nil || !declared[fmt.Sprint(c.Operation, told.Code, status)] {
					t.Errorf("%s: %v of %s is %d %s, which the model does not declare", c.Name, fault, method, status, answer)
				}
				answers[told.Code]++
			}
		}
	}
	t.Logf("answers by code: %v", answers)
	if len(answers) < 10 {
		t.Error("too few codes are seen")
	}
}

func sameTable(t *testing.T, v verdict) {
	have := map[string]string{}
	for _, op := range kafkatest.New().Service.Operations() {
		have[op.Name] = fmt.Sprintf("%s %s %d", op.Method, op.Path, op.Status)
	}
	for _, op := range v.Table {
		if access(op.Name) {
			continue
		}
		if want := fmt.Sprintf("%s %s %d", op.Method, op.Path, op.Status); have[op.Name] != want {
			t.Errorf("%s is %q, the model has %q", op.Name, have[op.Name], want)
		}
		delete(have, op.Name)
	}
	for name := range have {
		t.Errorf("the model has no operation %s", name)
	}
}

// refusesBad asks every bad request of a world in the state that its call found.
func refusesBad(t *testing.T, v verdict, calls []found) {
	if len(v.Bad) < 500 {
		t.Fatalf("%d bad requests, there should be far more", len(v.Bad))
	}
	t.Logf("%d bad requests", len(v.Bad))
	for _, b := range v.Bad {
		f := calls[slices.IndexFunc(calls, func(f found) bool { return f.Name == b.Call })]
		w := f.world.Copy()
		before := w.Changes()
		status, answer, err := w.Call(t.Context(), kafkatest.Ask{Operation: f.Operation, Params: b.Params, Query: b.Query, Body: b.Body})
		what := fmt.Sprintf("%s with a bad %s (%s): %s %v", b.Call, b.Field, b.Why, b.Body, b.Params)
		if err != nil || status != http.StatusBadRequest {
			t.Errorf("%s: status %d, %v: %s", what, status, err, answer)
			continue
		}
		var told struct{ InvalidParameter, Message string }
		if err := json.Unmarshal(answer, &told); err != nil || told.Message == "" {
			t.Errorf("%s: %s", what, answer)
		}
		if b.Field != "" && !slices.Contains(strings.Split(b.Field, "."), told.InvalidParameter) {
			t.Errorf("%s: the answer blames %q: %s", what, told.InvalidParameter, told.Message)
		}
		if w.Changes() != before {
			t.Errorf("%s has changed something", what)
		}
	}
}

// found is a call and the state that it found.
type found struct {
	call
	step  kafkatest.Step
	world *kafkatest.World // before it was asked; to be copied
}

// play asks all of the scenario.
func play(t *testing.T) []found {
	t.Helper()
	var all []found
	w := kafkatest.New()
	for _, make := range kafkatest.Scenario() {
		step := make(w)
		before := w.Copy()
		_, answer, err := w.Call(t.Context(), step.Ask)
		if err != nil {
			t.Fatal(err)
		}
		a := step.Ask
		c := call{step.Name, a.Operation, a.Params, a.Query, a.Body, string(answer)}
		if c.Params == nil {
			c.Params = map[string]string{}
		}
		if c.Query == nil {
			c.Query = url.Values{}
		}
		all = append(all, found{c, step, before})
	}
	return all
}
