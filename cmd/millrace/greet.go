package main

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"millrace/cmd/remote"
	"millrace/cmd/terminal"
	"millrace/control"
	"millrace/engine"
)

// way is one way into the cluster: the brokers' addresses by one listener.
type way struct {
	listener  engine.Listener // of the first broker
	bootstrap []string
}

// waysIn are those that clients use, in the order of the first broker's listeners.
func waysIn(nodes []control.Node) []way {
	var all []way
	for _, n := range nodes {
		for _, l := range n.Spec.Served() {
			if l.Name == engine.Internal {
				continue
			}
			i := slices.IndexFunc(all, func(w way) bool { return w.listener.Name == l.Name })
			if i < 0 {
				i, all = len(all), append(all, way{listener: l})
			}
			all[i].bootstrap = append(all[i].bootstrap, l.Told())
		}
	}
	return all
}

// apiURL is where the API is.
func (i *installation) apiURL() string {
	if i.guard != nil && i.guard.api {
		return "https://" + i.cfg.listen
	}
	return "http://" + i.cfg.listen
}

// announceReady is the log line of a cluster that serves.
func (i *installation) announceReady(nodes []control.Node, log *slog.Logger) {
	ways := waysIn(nodes)
	args := []any{"cluster", defaultCluster}
	if len(ways) > 0 {
		args = append(args, "bootstrap", strings.Join(ways[0].bootstrap, ","))
	}
	if len(ways) > 0 && !plain(ways) {
		listeners := map[string]string{}
		for _, w := range ways {
			listeners[w.listener.Name] = strings.Join(w.bootstrap, ",")
		}
		args = append(args, "listeners", listeners, "ca", i.caFile(), "root", remote.RootFile(i.cfg.data))
	}
	log.Info("cluster is ready", append(args, "api", i.apiURL(), "data", i.cfg.data)...)
}

// banner tells a person how to log in by each listener.
func (i *installation) banner(w io.Writer, nodes []control.Node) {
	fmt.Fprintf(w, "\n  Millrace %s is ready.\n\n", version)
	for _, one := range waysIn(nodes) {
		fmt.Fprintf(w, "  Kafka     %s        %s\n", strings.Join(one.bootstrap, ",\n            "), loginOf(one.listener))
	}
	fmt.Fprintf(w, "  API       %s    /healthz, /readyz\n  Data      %s\n", i.apiURL(), i.cfg.data)
	if ways := waysIn(nodes); plain(ways) {
		fmt.Fprintf(w, `
  Try, in another terminal:
    millrace topic create greetings
    echo 'hello' | millrace produce greetings
    millrace consume greetings

  As Amazon MSK:
    eval "$(millrace env --data %s)"
    aws kafka list-clusters-v2
`, i.cfg.data)
	} else {
		i.bannerLogins(w, ways)
	}
	fmt.Fprint(w, "\n  Ctrl-C stops everything. Records stay.\n\n")
}

// plain says that nobody is asked who they are, and nothing speaks TLS.
func plain(ways []way) bool { return len(ways) == 1 && ways[0].listener.Protocol() == "PLAINTEXT" }

// loginOf says in a few words what a listener asks of its clients.
func loginOf(l engine.Listener) string {
	where := ""
	if strings.HasSuffix(l.Name, engine.PublicSuffix) {
		where = ", public"
	}
	switch {
	case len(l.Mechanisms) > 0 && strings.HasPrefix(l.Name, engine.ClientIAM):
		return "TLS, login by an access key (IAM)" + where
	case len(l.Mechanisms) > 0:
		return "TLS, login by user and password (SCRAM)" + where
	case l.ClientCert == engine.CertNeed:
		return "TLS with a client certificate" + where
	case l.ClientCert == engine.CertWant:
		return "TLS, with a client certificate or without login"
	case l.TLS:
		return "TLS, no login"
	}
	return "any Kafka client, no login"
}

// bannerLogins gives for each login the commands that use it.
func (i *installation) bannerLogins(w io.Writer, ways []way) {
	fmt.Fprintf(w, "  Authority %s        what clients trust\n  Root key  %s        may do everything; keep it to yourself\n", i.caFile(), remote.RootFile(i.cfg.data))
	find := func(name string) string {
		for _, one := range ways {
			if one.listener.Name == name {
				return one.bootstrap[0]
			}
		}
		return ""
	}
	fmt.Fprintf(w, "\n  Try, in another terminal:\n    eval \"$(millrace env --data %s)\"\n", i.cfg.data)
	admin := ""
	if at := find(engine.ClientIAM); at != "" {
		admin = fmt.Sprintf(" --bootstrap %s --sasl iam", at)
		fmt.Fprintf(w, `
    # with the access key of that environment
    millrace topic create greetings --bootstrap %[1]s --sasl iam
    echo 'hello' | millrace produce greetings --bootstrap %[1]s --sasl iam
    millrace consume greetings --bootstrap %[1]s --sasl iam
`, at)
	}
	if at := find(engine.ClientScram); at != "" {
		fmt.Fprintf(w, `
    # with a user and a password
    openssl rand -base64 24 > alice.password
    millrace user create alice --new-password-file alice.password%s
    millrace consume greetings --bootstrap %s --sasl scram --user alice --password-file alice.password
`, admin, at)
	}
	if at := find(engine.ClientTLS); at != "" {
		fmt.Fprintf(w, `
    # with a client certificate
    millrace cert issue --name alice --out alice
    millrace consume greetings --bootstrap %s --tls-cert alice/client.pem --tls-key alice/client.key
`, at)
	}
}

// greet says that the cluster serves: a banner on a terminal, otherwise a line of the log.
func (a *app) greet(i *installation, nodes []control.Node, log *slog.Logger) {
	if !terminal.IsTerminal(a.Out) {
		i.announceReady(nodes, log)
		return
	}
	i.banner(a.Out, nodes)
}
