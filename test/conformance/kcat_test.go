package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"millrace/test/harness"
)

// kcat is librdkafka's command line client; every operation is a process.
type kcat struct {
	commandClient
	path, bootstrap string

	mu      sync.Mutex
	members map[string]*kcatMember
}

// kcatMember is a kcat in a group; kcat.mu guards assigned.
type kcatMember struct {
	command  *exec.Cmd
	assigned []int32
	done     chan struct{}
}

// Separators of produced records: kcat has no other framing, and samples hold none of these.
const (
	kcatRecordEnd = "\x1d\x1e\n"
	kcatKeyEnd    = "\x1e\x1d:"
)

func newKcat(t *testing.T, cluster *harness.Cluster) client {
	k := &kcat{
		path: harness.Require(t, harness.Kcat), bootstrap: cluster.Bootstrap,
		members: make(map[string]*kcatMember),
	}
	k.hello = hello{Client: "kcat", Codecs: []string{"none", "gzip", "snappy", "lz4", "zstd"}, Features: []string{"idempotence", "reads_null", "read_committed"}}
	k.operations = map[string]func(context.Context, request) (any, error){
		"list_topics": k.listTopics, "describe_topic": k.describeTopic, "produce": k.produce, "consume": k.consume,
		"list_offsets": k.listOffsets, "offset_for_time": k.offsetForTime, "group_read": k.groupRead,
		"digest_group": k.digestGroup, "produce_lines": k.produceLines,
		"member_open": k.memberOpen, "member_state": k.memberState, "member_close": k.memberClose,
	}
	for name := range k.operations {
		k.hello.Operations = append(k.hello.Operations, name)
	}
	t.Cleanup(k.closeMembers)
	return k
}

func (k *kcat) args(more ...string) []string {
	return append([]string{"-b", k.bootstrap, "-X", "fetch.wait.max.ms=100"}, more...)
}

func (k *kcat) run(ctx context.Context, input []byte, more ...string) (string, error) {
	out, _, err := runCommand(ctx, input, k.path, k.args(more...)...)
	return out, err
}

type kcatMetadata struct {
	Topics []struct {
		Topic      string
		Error      string
		Partitions []struct{ Leader int }
	}
}

func (k *kcat) metadata(ctx context.Context, more ...string) (kcatMetadata, error) {
	var got kcatMetadata
	out, err := k.run(ctx, nil, append([]string{"-L", "-J"}, more...)...)
	if err != nil {
		return got, err
	}
	return got, json.Unmarshal([]byte(out), &got)
}

func (k *kcat) listTopics(ctx context.Context, _ request) (any, error) {
	got, err := k.metadata(ctx)
	var list []string
	for _, topic := range got.Topics {
		list = append(list, topic.Topic)
	}
	return map[string]any{"names": list}, err
}

func (k *kcat) describeTopic(ctx context.Context, r request) (any, error) {
	got, err := k.metadata(ctx, "-t", r.Topic)
	if err != nil {
		return nil, err
	}
	topic := got.Topics[0]
	if topic.Error != "" {
		return nil, &clientError{Code: codeOf(topic.Error), Message: topic.Error}
	}
	led := 0
	for _, partition := range topic.Partitions {
		if partition.Leader >= 0 {
			led++
		}
	}
	return map[string]int{"partitions": len(topic.Partitions), "led": led}, nil
}

// produce writes the records by key and value; kcat has no times, and headers only for all records alike. It does not
// tell offsets.
func (k *kcat) produce(ctx context.Context, r request) (any, error) {
	var input bytes.Buffer
	for _, one := range r.Records {
		input.Write(one.Key)
		input.WriteString(kcatKeyEnd)
		input.Write(one.Value)
		input.WriteString(kcatRecordEnd)
	}
	codec := r.Compression
	if codec == "" {
		codec = "none"
	}
	_, err := k.run(ctx, input.Bytes(), "-P", "-t", r.Topic, "-p", strconv.Itoa(int(r.Partition)), "-z", codec,
		"-K", kcatKeyEnd, "-D", kcatRecordEnd, "-X", "enable.idempotence="+strconv.FormatBool(r.Idempotent))
	return nil, err
}

func (k *kcat) produceLines(ctx context.Context, r request) (any, error) {
	_, err := k.run(ctx, nil, "-P", "-t", r.Topic, "-K", "\t", "-l", "-X", "enable.idempotence=true", r.File)
	return nil, err
}

// kcatFormat prints a record so that it can be read back whatever bytes it holds: numbers, lengths, bytes.
const kcatFormat = `%t %p %o %T %K %S\n%k%s\n`

func (k *kcat) consume(ctx context.Context, r request) (any, error) {
	isolation := r.Isolation
	if isolation == "" {
		isolation = readCommitted // librdkafka's default
	}
	var all []record
	for _, topic := range r.Topics {
		out, err := k.run(ctx, nil, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", kcatFormat, "-X", "isolation.level="+isolation)
		if err != nil {
			return nil, err
		}
		records, err := parseKcat(out)
		if err != nil {
			return nil, err
		}
		all = append(all, records...)
	}
	return map[string]any{"records": all}, nil
}

func (k *kcat) groupRead(ctx context.Context, r request) (any, error) {
	out, err := k.run(ctx, nil, "-G", r.Group, "-c", strconv.Itoa(r.Count), "-q", "-f", kcatFormat,
		"-X", "auto.offset.reset=earliest", r.Topic)
	if err != nil {
		return nil, err
	}
	records, err := parseKcat(out)
	return map[string]any{"records": records}, err
}

func parseKcat(out string) ([]record, error) {
	var records []record
	reader := bufio.NewReader(strings.NewReader(out))
	for {
		line, err := reader.ReadString('\n')
		if err == io.EOF && line == "" {
			return records, nil
		}
		var one record
		var keyLength, valueLength int
		if _, err := fmt.Sscanf(line, "%s %d %d %d %d %d", &one.Topic, &one.Partition, &one.Offset, &one.Timestamp, &keyLength, &valueLength); err != nil {
			return nil, fmt.Errorf("kcat printed %q: %w", line, err)
		}
		for _, field := range []struct {
			to     *[]byte
			length int
		}{{&one.Key, keyLength}, {&one.Value, valueLength}} {
			if field.length < 0 {
				continue
			}
			*field.to = make([]byte, field.length)
			if _, err := io.ReadFull(reader, *field.to); err != nil {
				return nil, err
			}
		}
		if _, err := reader.Discard(1); err != nil {
			return nil, err
		}
		records = append(records, one)
	}
}

// digestGroup reads all topics as one member of a group.
func (k *kcat) digestGroup(ctx context.Context, r request) (any, error) {
	var out digests
	args := k.args(append([]string{"-G", r.Group, "-c", strconv.Itoa(r.Count), "-q", "-f", `%t\t%k\t%s\n`,
		"-X", "auto.offset.reset=earliest"}, r.Topics...)...)
	err := eachLine(ctx, func(line []byte) error {
		topic, rest, _ := bytes.Cut(line, []byte{'\t'})
		return out.addLine(string(topic), rest)
	}, k.path, args...)
	return out.finish(), err
}

func (k *kcat) query(ctx context.Context, r request, when int64) (int64, error) {
	out, err := k.run(ctx, nil, "-Q", "-t", fmt.Sprintf("%s:%d:%d", r.Topic, r.Partition, when))
	if err != nil {
		return 0, err
	}
	_, offset, ok := strings.Cut(strings.TrimSpace(out), "] offset ")
	if !ok {
		return 0, fmt.Errorf("kcat printed %q", out)
	}
	return strconv.ParseInt(offset, 10, 64)
}

func (k *kcat) offsetForTime(ctx context.Context, r request) (any, error) {
	offset, err := k.query(ctx, r, r.Timestamp)
	return map[string]int64{"offset": offset}, err
}

func (k *kcat) listOffsets(ctx context.Context, r request) (any, error) {
	const latest, earliest = -1, -2
	first, err := k.query(ctx, r, earliest)
	if err != nil {
		return nil, err
	}
	last, err := k.query(ctx, r, latest)
	return map[string]int64{"earliest": first, "latest": last}, err
}

func (k *kcat) memberOpen(_ context.Context, r request) (any, error) {
	command := exec.Command(k.path, k.args("-G", r.Group, "-X", "heartbeat.interval.ms=300", "-X", "session.timeout.ms=10000",
		"-X", "auto.offset.reset=earliest", r.Topic)...)
	said, err := command.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	m := &kcatMember{command: command, done: make(chan struct{})}
	go k.follow(m, said)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.members[r.Member] = m
	return nil, nil
}

// follow reads what a member says of its rebalances until it ends:
// % Group g rebalanced (memberid m): assigned: topic [0], topic [1]
func (k *kcat) follow(m *kcatMember, said io.Reader) {
	defer close(m.done)
	partition := regexp.MustCompile(`\[(\d+)\]`)
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		line := lines.Text()
		if !strings.Contains(line, "rebalanced") {
			continue
		}
		var assigned []int32
		if _, list, ok := strings.Cut(line, "assigned: "); ok {
			for _, match := range partition.FindAllStringSubmatch(list, -1) {
				number, _ := strconv.Atoi(match[1])
				assigned = append(assigned, int32(number))
			}
		}
		slices.Sort(assigned)
		k.mu.Lock()
		m.assigned = assigned
		k.mu.Unlock()
	}
	_ = m.command.Wait()
}

func (k *kcat) memberState(context.Context, request) (any, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	held := make(map[string][]int32)
	for name, m := range k.members {
		held[name] = m.assigned
	}
	return map[string]any{"assignments": held}, nil
}

func (k *kcat) memberClose(_ context.Context, r request) (any, error) {
	k.mu.Lock()
	m := k.members[r.Member]
	delete(k.members, r.Member)
	k.mu.Unlock()
	if err := m.command.Process.Signal(syscall.SIGTERM); err != nil {
		return nil, err
	}
	<-m.done
	return nil, nil
}

func (k *kcat) closeMembers() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range k.members {
		_ = m.command.Process.Kill()
	}
}
