package ecosystem

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"millrace/test/harness"
)

var rewrite = flag.Bool("rewrite", false, "write what the tools say on Apache Kafka into testdata; needs MILLRACE_ECOSYSTEM=full")

// The command line tools by class.
const (
	topicCommand         = "org.apache.kafka.tools.TopicCommand"
	consumerGroupCommand = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
	shareGroupCommand    = "org.apache.kafka.tools.consumer.group.ShareGroupCommand"
	streamsGroupCommand  = "org.apache.kafka.tools.streams.StreamsGroupCommand"
	groupsCommand        = "org.apache.kafka.tools.GroupsCommand"
	transactionsCommand  = "org.apache.kafka.tools.TransactionsCommand"
	configCommand        = "kafka.admin.ConfigCommand"
	electionCommand      = "org.apache.kafka.tools.LeaderElectionCommand"
	reassignCommand      = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
	featureCommand       = "org.apache.kafka.tools.FeatureCommand"
	versionsCommand      = "org.apache.kafka.tools.BrokerApiVersionsCommand"
	clusterTool          = "org.apache.kafka.tools.ClusterTool"
	logDirsCommand       = "org.apache.kafka.tools.LogDirsCommand"
	quorumCommand        = "org.apache.kafka.tools.MetadataQuorumCommand"
	clientMetricsCommand = "org.apache.kafka.tools.ClientMetricsCommand"
	offsetShell          = "org.apache.kafka.tools.GetOffsetShell"
	producerPerformance  = "org.apache.kafka.tools.ProducerPerformance"
	consumerPerformance  = "org.apache.kafka.tools.ConsumerPerformance"
	sharePerformance     = "org.apache.kafka.tools.ShareConsumerPerformance"
	endToEndLatency      = "org.apache.kafka.tools.EndToEndLatency"
	streamsResetter      = "org.apache.kafka.tools.StreamsResetter"
)

// A toolbox runs command line tools one after the other and writes down what they say.
type toolbox struct {
	*server
	dir        string // for files that tools are given
	process    *program
	in         io.Writer
	answered   int
	transcript strings.Builder
}

func openToolbox(t *testing.T, s *server) *toolbox {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	classPath := harness.Javac(t, filepath.Join(root, "test", "ecosystem", "clients", "tools"))
	command := exec.Command("java", harness.JavaArgs(classPath, "Tools")...)
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	b := &toolbox{server: s, dir: t.TempDir(), in: in}
	b.process = startProgram(t, "the toolbox", command)
	return b
}

// file writes a file for a tool and returns its path.
func (b *toolbox) file(t *testing.T, name, body string) string {
	t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// call runs a tool and returns its exit code and what it said.
func (b *toolbox) call(t *testing.T, class string, args ...string) (exit int, out string) {
	t.Helper()
	request, err := json.Marshal(append([]string{class}, args...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.in.Write(append(request, '\n')); err != nil {
		t.Fatalf("%s: %v", class, err)
	}
	var line string
	b.process.await(t, "the answer of "+class, func(context.Context) error {
		b.process.mu.Lock()
		defer b.process.mu.Unlock()
		if len(b.process.lines) == b.answered {
			return errNotYet
		}
		line = b.process.lines[b.answered]
		return nil
	})
	b.answered++
	var answer struct {
		Exit int
		Out  string
	}
	if err := json.Unmarshal([]byte(line), &answer); err != nil {
		t.Fatalf("%s: %v in %q", class, err, line)
	}
	return answer.Exit, answer.Out
}

// words splits arguments and adds the address of the cluster: where @ stands, else first.
func (b *toolbox) words(args string) []string {
	address := []string{"--bootstrap-server", b.Bootstrap}
	words := strings.Fields(args)
	if at := slices.Index(words, "@"); at >= 0 {
		return slices.Replace(words, at, at+1, address...)
	}
	return append(address, words...)
}

// run runs a tool against the cluster and writes down what it said. Arguments are one text, separated by spaces.
func (b *toolbox) run(t *testing.T, class, args string) string {
	t.Helper()
	exit, out := b.call(t, class, b.words(args)...)
	name := class[strings.LastIndexByte(class, '.')+1:]
	fmt.Fprintf(&b.transcript, "$ %s %s\n%s", name, strings.ReplaceAll(args, b.dir+"/", ""), b.plain(out))
	if exit != 0 {
		fmt.Fprintf(&b.transcript, "exit code %d\n", exit)
	}
	b.transcript.WriteByte('\n')
	return out
}

// after runs a tool once it says text: what another tool has changed may take a moment until it is seen.
func (b *toolbox) after(t *testing.T, text, class, args string) {
	t.Helper()
	b.settles(t, class, args, text)
	b.run(t, class, args)
}

// settles runs a tool, without writing it down, until it says all of texts, and none of those that begin with "!": for what
// takes its time to come about.
func (b *toolbox) settles(t *testing.T, class, args string, texts ...string) {
	t.Helper()
	harness.Eventually(t, waitLimit, class+" "+args, func(context.Context) error {
		_, out := b.call(t, class, b.words(args)...)
		if strings.Contains(out, "UnsupportedVersionException") {
			t.Fatalf("%s %s: %s", class, args, out)
		}
		for _, text := range texts {
			wanted, unwanted := strings.CutPrefix(text, "!")
			if regexp.MustCompile(wanted).MatchString(out) == unwanted {
				return fmt.Errorf("want %q; it says %q", text, out)
			}
		}
		return nil
	})
}
