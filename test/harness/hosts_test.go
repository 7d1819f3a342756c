package harness_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/test/harness"
)

func TestEtcdOverTLSLivesWithoutAMember(t *testing.T) {
	e := harness.StartEtcd(t, harness.EtcdOptions{Members: 3, TLS: true})
	if urls := e.URLs(); strings.Count(urls, "https://") != 3 || len(e.TLSArgs()) != 6 {
		t.Errorf("URLs %s, flags %v", urls, e.TLSArgs())
	}
	e.Members[0].Process().Kill()
	e.Members[0].Start(t)
	harness.Eventually(t, time.Minute, "the member again", func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(e.Members[0].URL, "https://"))
		if err == nil {
			err = c.Close()
		}
		return err
	})
}

// echo answers each line that comes from a host with the same.
func echo(t *testing.T, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
}

func TestNetworkIsCutAndJoined(t *testing.T) {
	n := harness.NewNetwork(t, 2)
	port := "29999"
	echo(t, net.JoinHostPort(n.Self, port))
	// A shell on the first host says a line whenever the test does, over one connection, and prints what comes back.
	script := `exec 3<>/dev/tcp/` + n.Self + `/` + port + `; while read -r line; do echo "$line" >&3; read -r back <&3; echo "$back"; done`
	cmd := n.Hosts[0].Command("bash", "-c", script)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := harness.StartProcess(t, "shell", "", cmd)
	t.Cleanup(p.Kill)
	lines := make(chan string, 10)
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	say := func(line string) {
		if _, err := io.WriteString(in, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(limit time.Duration) string {
		select {
		case line := <-lines:
			return line
		case <-time.After(limit):
			return ""
		}
	}
	say("one")
	if got := hear(20 * time.Second); got != "one" {
		t.Fatalf("heard %q", got)
	}
	n.Isolate(t, n.Hosts[0].Address)
	say("two")
	if got := hear(500 * time.Millisecond); got != "" {
		t.Errorf("heard %q over a cut", got)
	}
	n.Rejoin(t, n.Hosts[0].Address)
	if got := hear(20 * time.Second); got != "two" {
		t.Errorf("heard %q after the cut", got)
	}
}

func TestHostCommandIsTheProgramItself(t *testing.T) {
	n := harness.NewNetwork(t, 1)
	p := harness.StartProcess(t, "sleep", filepath.Join(t.TempDir(), "log"), n.Hosts[0].Command("sleep", "100"))
	t.Cleanup(p.Kill)
	harness.Eventually(t, 20*time.Second, "the program in place of what started it", func(context.Context) error {
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID()))
		if err == nil && string(cmdline) != "sleep\x00100\x00" {
			err = fmt.Errorf("it runs %q", cmdline)
		}
		return err
	})
}
