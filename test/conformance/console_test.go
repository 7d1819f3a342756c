package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"millrace/test/harness"
)

// console is Apache Kafka's set of command line tools, by class; every operation is a JVM.
type console struct {
	commandClient
	jars, bootstrap, dir string
}

// What the console consumer prints between fields and records; samples hold none of these.
const (
	consoleFieldEnd  = "\x1e\x1d|"
	consoleRecordEnd = "\x1d\x1e\n"
	consoleNull      = "\x1d(null)\x1e"
)

func newConsole(t *testing.T, cluster *harness.Cluster) client {
	c := &console{jars: harness.Require(t, harness.Java), bootstrap: cluster.Bootstrap, dir: t.TempDir()}
	c.hello = hello{
		Client: "console", Codecs: []string{"none", "gzip", "snappy", "lz4", "zstd"},
		Features: []string{"idempotence", "reads_null", "slow", "read_committed"},
	}
	c.operations = map[string]func(context.Context, request) (any, error){
		"create_topic": c.createTopic, "delete_topic": c.deleteTopic, "list_topics": c.listTopics,
		"describe_topic": c.describeTopic, "create_partitions": c.createPartitions, "alter_configs": c.alterConfigs,
		"describe_configs": c.describeConfigs, "produce": c.produce, "consume": c.consume,
		"list_offsets": c.listOffsets, "offset_for_time": c.offsetForTime, "delete_records": c.deleteRecords,
		"group_read": c.groupRead, "list_groups": c.listGroups, "describe_group": c.describeGroup, "delete_group": c.deleteGroup,
		"produce_lines": c.produceLines, "digest_group": c.digestGroup, "describe_transaction": c.describeTransaction,
		"list_transactions": c.listTransactions, "describe_producers": c.describeProducers, "abort_transaction": c.abortTransaction,
	}
	for name := range c.operations {
		c.hello.Operations = append(c.hello.Operations, name)
	}
	return c
}

// tool runs a tool by its class. The tools print some errors and exit with 0, so what they print is searched too.
func (c *console) tool(ctx context.Context, input []byte, class string, args ...string) (string, error) {
	args = append([]string{"--bootstrap-server", c.bootstrap}, args...)
	out, said, err := runCommand(ctx, input, "java", harness.JavaArgs(c.jars, class, args...)...)
	if err != nil {
		return "", err
	}
	if code := codeOf(said + out); code != localError {
		return "", &clientError{Code: code, Message: tail(said + out)}
	}
	return out, nil
}

const (
	topicCommand   = "org.apache.kafka.tools.TopicCommand"
	configCommand  = "kafka.admin.ConfigCommand"
	groupCommand   = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
	recordsCommand = "org.apache.kafka.tools.DeleteRecordsCommand"
	offsetShell    = "org.apache.kafka.tools.GetOffsetShell"
	producerTool   = "org.apache.kafka.tools.ConsoleProducer"
	consumerTool   = "org.apache.kafka.tools.consumer.ConsoleConsumer"
	txnCommand     = "org.apache.kafka.tools.TransactionsCommand"
)

func (c *console) createTopic(ctx context.Context, r request) (any, error) {
	args := []string{"--create", "--topic", r.Topic, "--partitions", strconv.Itoa(int(r.Partitions))}
	for name, value := range r.Configs {
		args = append(args, "--config", name+"="+value)
	}
	_, err := c.tool(ctx, nil, topicCommand, args...)
	return nil, err
}

func (c *console) deleteTopic(ctx context.Context, r request) (any, error) {
	_, err := c.tool(ctx, nil, topicCommand, "--delete", "--topic", r.Topic)
	return nil, err
}

func (c *console) listTopics(ctx context.Context, _ request) (any, error) {
	out, err := c.tool(ctx, nil, topicCommand, "--list")
	return map[string]any{"names": strings.Fields(out)}, err
}

func (c *console) describeTopic(ctx context.Context, r request) (any, error) {
	out, err := c.tool(ctx, nil, topicCommand, "--describe", "--topic", r.Topic)
	if err != nil {
		return nil, err
	}
	partitions, led := 0, 0
	for line := range strings.Lines(out) {
		if _, rest, ok := strings.Cut(line, "\tLeader: "); ok {
			partitions++
			if !strings.HasPrefix(rest, "none") {
				led++
			}
		}
	}
	return map[string]int{"partitions": partitions, "led": led}, nil
}

func (c *console) createPartitions(ctx context.Context, r request) (any, error) {
	_, err := c.tool(ctx, nil, topicCommand, "--alter", "--topic", r.Topic, "--partitions", strconv.Itoa(int(r.Partitions)))
	return nil, err
}

func (c *console) alterConfigs(ctx context.Context, r request) (any, error) {
	var changes []string
	for name, value := range r.Configs {
		changes = append(changes, name+"="+value)
	}
	_, err := c.tool(ctx, nil, configCommand, "--alter", "--entity-type", "topics", "--entity-name", r.Topic,
		"--add-config", strings.Join(changes, ","))
	return nil, err
}

// describeConfigs reads lines such as "  retention.ms=3600000 sensitive=false synonyms={…}".
func (c *console) describeConfigs(ctx context.Context, r request) (any, error) {
	out, err := c.tool(ctx, nil, configCommand, "--describe", "--all", "--entity-type", "topics", "--entity-name", r.Topic)
	configs := make(map[string]string)
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			configs[name], _, _ = strings.Cut(value, " ")
		}
	}
	return map[string]any{"configs": configs}, err
}

func (c *console) produce(ctx context.Context, r request) (any, error) {
	var input bytes.Buffer
	for _, one := range r.Records {
		fmt.Fprintf(&input, "%s\t%s\n", one.Key, one.Value)
	}
	codec := r.Compression
	if codec == "" {
		codec = "none"
	}
	_, err := c.tool(ctx, input.Bytes(), producerTool, "--topic", r.Topic, "--compression-codec", codec,
		"--reader-property", "parse.key=true", "--reader-property", "key.separator=\t",
		"--command-property", "enable.idempotence="+strconv.FormatBool(r.Idempotent))
	return nil, err
}

func (c *console) produceLines(ctx context.Context, r request) (any, error) {
	file, err := os.Open(r.File)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	args := harness.JavaArgs(c.jars, producerTool, "--bootstrap-server", c.bootstrap, "--topic", r.Topic,
		"--reader-property", "parse.key=true", "--reader-property", "key.separator=\t", "--batch-size", "65536")
	command := exec.CommandContext(ctx, "java", args...)
	var said strings.Builder
	command.Stdin, command.Stdout, command.Stderr = file, &said, &said
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, tail(said.String()))
	}
	return nil, nil
}

// printed makes the console consumer print everything of a record between separators of ours.
func printed() []string {
	var args []string
	for _, property := range []string{
		"print.partition=true", "print.offset=true", "print.timestamp=true", "print.key=true", "print.value=true",
		"key.separator=" + consoleFieldEnd, "line.separator=" + consoleRecordEnd, "null.literal=" + consoleNull,
	} {
		args = append(args, "--formatter-property", property)
	}
	return args
}

func (c *console) consume(ctx context.Context, r request) (any, error) {
	isolation := r.Isolation
	if isolation == "" {
		isolation = readUncommitted // the tool's default
	}
	var all []record
	for _, topic := range r.Topics {
		out, err := c.tool(ctx, nil, consumerTool, append(printed(), "--topic", topic, "--from-beginning", "--isolation-level", isolation,
			"--max-messages", strconv.Itoa(r.Count/len(r.Topics)), "--timeout-ms", "20000")...)
		if err != nil {
			return nil, err
		}
		records, err := parseConsole(topic, out)
		if err != nil {
			return nil, err
		}
		all = append(all, records...)
	}
	return map[string]any{"records": all}, nil
}

func (c *console) groupRead(ctx context.Context, r request) (any, error) {
	out, err := c.tool(ctx, nil, consumerTool, append(printed(), "--topic", r.Topic, "--group", r.Group, "--from-beginning",
		"--max-messages", strconv.Itoa(r.Count), "--timeout-ms", "20000")...)
	if err != nil {
		return nil, err
	}
	records, err := parseConsole(r.Topic, out)
	return map[string]any{"records": records}, err
}

// parseConsole reads records of the form CreateTime:N | Partition:N | Offset:N | key | value.
func parseConsole(topic, out string) ([]record, error) {
	var records []record
	for text := range strings.SplitSeq(strings.TrimSuffix(out, consoleRecordEnd), consoleRecordEnd) {
		fields := strings.Split(text, consoleFieldEnd)
		const wanted = 5
		if len(fields) != wanted {
			return nil, fmt.Errorf("the console consumer printed %q", text)
		}
		one := record{Topic: topic}
		_, when, _ := strings.Cut(fields[0], ":")
		if _, err := fmt.Sscan(when, &one.Timestamp); err != nil {
			return nil, fmt.Errorf("the console consumer printed %q: %w", text, err)
		}
		if _, err := fmt.Sscanf(fields[1]+" "+fields[2], "Partition:%d Offset:%d", &one.Partition, &one.Offset); err != nil {
			return nil, fmt.Errorf("the console consumer printed %q: %w", text, err)
		}
		if fields[3] != consoleNull {
			one.Key = []byte(fields[3])
		}
		if fields[4] != consoleNull {
			one.Value = []byte(fields[4])
		}
		records = append(records, one)
	}
	return records, nil
}

// digestGroup reads the topics one after the other: what the tool prints does not name the topic.
func (c *console) digestGroup(ctx context.Context, r request) (any, error) {
	var out digests
	for _, topic := range r.Topics {
		if err := c.digestTopic(ctx, r, topic, &out); err != nil {
			return nil, err
		}
	}
	return out.finish(), nil
}

func (c *console) digestTopic(ctx context.Context, r request, topic string, out *digests) error {
	args := harness.JavaArgs(c.jars, consumerTool, "--bootstrap-server", c.bootstrap, "--topic", topic, "--group", r.Group,
		"--from-beginning", "--max-messages", strconv.Itoa(r.Count/len(r.Topics)), "--timeout-ms", "60000",
		"--formatter-property", "print.key=true")
	return eachLine(ctx, func(line []byte) error { return out.addLine(topic, line) }, "java", args...)
}

// offset asks for the offset at a time; the tool prints nothing for a time later than all.
func (c *console) offset(ctx context.Context, r request, when string) (int64, error) {
	out, err := c.tool(ctx, nil, offsetShell, "--topic-partitions", fmt.Sprintf("%s:%d", r.Topic, r.Partition), "--time", when)
	if err != nil {
		return 0, err
	}
	fields := strings.Split(strings.TrimSpace(out), ":")
	if text := fields[len(fields)-1]; text != "" {
		return strconv.ParseInt(text, 10, 64)
	}
	return -1, nil
}

func (c *console) listOffsets(ctx context.Context, r request) (any, error) {
	first, err := c.offset(ctx, r, "earliest")
	if err != nil {
		return nil, err
	}
	last, err := c.offset(ctx, r, "latest")
	return map[string]int64{"earliest": first, "latest": last}, err
}

func (c *console) offsetForTime(ctx context.Context, r request) (any, error) {
	offset, err := c.offset(ctx, r, strconv.FormatInt(r.Timestamp, 10))
	return map[string]int64{"offset": offset}, err
}

// deleteRecords reads the line "partition: t-0	low_watermark: 25".
func (c *console) deleteRecords(ctx context.Context, r request) (any, error) {
	type partition struct {
		Topic     string `json:"topic"`
		Partition int32  `json:"partition"`
		Offset    int64  `json:"offset"`
	}
	asked, err := json.Marshal(map[string]any{"version": 1, "partitions": []partition{{r.Topic, r.Partition, r.Before}}})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(c.dir, "delete.json")
	if err := os.WriteFile(path, asked, 0o644); err != nil {
		return nil, err
	}
	out, err := c.tool(ctx, nil, recordsCommand, "--offset-json-file", path)
	if err != nil {
		return nil, err
	}
	_, low, ok := strings.Cut(out, "low_watermark: ")
	if !ok {
		return nil, &clientError{Code: localError, Message: out}
	}
	offset, err := strconv.ParseInt(strings.TrimSpace(low), 10, 64)
	return map[string]int64{"offset": offset}, err
}

func (c *console) listGroups(ctx context.Context, _ request) (any, error) {
	out, err := c.tool(ctx, nil, groupCommand, "--list")
	return map[string]any{"names": strings.Fields(out)}, err
}

// describeGroup reads the table of --state: the last two columns are the state and the number of members.
func (c *console) describeGroup(ctx context.Context, r request) (any, error) {
	out, err := c.tool(ctx, nil, groupCommand, "--describe", "--state", "--group", r.Group)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) > 2 && fields[0] == r.Group {
			members, err := strconv.Atoi(fields[len(fields)-1])
			return map[string]any{"state": fields[len(fields)-2], "members": members}, err
		}
	}
	return nil, &clientError{Code: codeOf(out), Message: out}
}

func (c *console) deleteGroup(ctx context.Context, r request) (any, error) {
	_, err := c.tool(ctx, nil, groupCommand, "--delete", "--group", r.Group)
	return nil, err
}
