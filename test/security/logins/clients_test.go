package logins

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"millrace/test/harness"
)

// loginCase is one line of a client's input; see clients/README.md.
type loginCase struct {
	ID           string `json:"id"`
	Client       string `json:"client,omitempty"`
	Bootstrap    string `json:"bootstrap"`
	CA           string `json:"ca,omitempty"`
	Method       string `json:"method"`
	Cert         string `json:"cert,omitempty"`
	Key          string `json:"key,omitempty"`
	User         string `json:"user,omitempty"`
	Password     string `json:"password,omitempty"`
	AccessKey    string `json:"access_key,omitempty"`
	SecretKey    string `json:"secret_key,omitempty"`
	SessionToken string `json:"session_token,omitempty"`
	Region       string `json:"region,omitempty"`
	Token        string `json:"token,omitempty"`
	Topic        string `json:"topic"`
	Group        string `json:"group"`
	Value        string `json:"value"`
	TimeoutMS    int    `json:"timeout_ms"`

	want outcome
}

// answer is what a client says of a case.
type answer struct {
	ID       string   `json:"id"`
	Consumed []string `json:"consumed"`
	Error    string   `json:"error"`
}

// program is a client, and the ways in which it can log in.
type program struct {
	name    string
	methods string // of clients/README.md, with blanks between
	command func(t testing.TB) *exec.Cmd
}

func programs() []program {
	java := func(t testing.TB) *exec.Cmd {
		classes := harness.Javac(t, "clients/java") + string(os.PathListSeparator) + harness.Require(t, harness.JavaIAM)
		return exec.Command("java", harness.JavaArgs(classes, "Login")...)
	}
	python := func(t testing.TB) *exec.Cmd {
		return exec.Command(harness.Require(t, harness.Python), filepath.Join("clients", "python", "login.py"))
	}
	node := func(t testing.TB) *exec.Cmd {
		modules := harness.Require(t, harness.Node)
		command := exec.Command("node", filepath.Join("clients", "node", "login.js"))
		command.Env = append(os.Environ(), "NODE_PATH="+modules, "KAFKAJS_NO_PARTITIONER_WARNING=1")
		return command
	}
	inGo := func(t testing.TB) *exec.Cmd { return exec.Command(harness.GoBuild(t, "clients/go")) }
	return []program{
		{"java", "none scram iam oauth", java},
		{"confluent", "none scram oauth token", python},
		{"kafka-python", "none scram iam oauth token", python},
		{"kafkajs", "none scram oauth token", node},
		{"franz", "none scram iam oauth token", inGo},
		{"sarama", "none scram oauth token", inGo},
	}
}

// run has the client answer cases, one after the other.
func (p program) run(t *testing.T, cases []loginCase) map[string]answer {
	t.Helper()
	var in, faults bytes.Buffer
	for _, c := range cases {
		line, err := json.Marshal(c)
		must(t, err)
		in.Write(append(line, '\n'))
	}
	command := p.command(t)
	command.Stdin, command.Stderr = &in, &faults
	out, err := command.Output()
	answers := map[string]answer{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var a answer
		if json.Unmarshal(lines.Bytes(), &a) == nil && a.ID != "" {
			answers[a.ID] = a
		}
	}
	if err != nil || len(answers) != len(cases) {
		t.Fatalf("%s answered %d of %d cases: %v\n%s", p.name, len(answers), len(cases), err, tail(faults.String()))
	}
	return answers
}

func tail(s string) string {
	const most = 3000
	return strings.TrimSpace(s[max(0, len(s)-most):])
}
