package render

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// maxProperties bounds what a spec's properties may be, in bytes.
const maxProperties = 64 << 10

var namePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,249}$`)

// reserved are the properties that a configuration may not set: this package does, or they would open the node. Those that end with a dot
// or a dash stand for all that begin so.
func reserved() []string {
	return []string{
		"advertised.listeners", "authorizer.class.name", "broker.id", "broker.rack", "client.quota.callback.class", "config.providers",
		"control.plane.listener.name", "controller.listener.names", "controller.quorum.bootstrap.servers", "controller.quorum.voters",
		"create.topic.policy.class.name", "alter.config.policy.class.name",
		"early.start.listeners", "inter.broker.listener.name", "listener.name.", "listener.security.protocol.map", "listeners", "log.dir", "log.dirs",
		"max.connections", "max.connections.per.ip", "max.connection.creation.rate",
		"metadata.log.dir", "metric.reporters", "node.id", "principal.builder.class", "process.roles", "sasl.", "security.", "ssl.", "super.users",
		"zookeeper.connect", "zookeeper.metadata.migration.enable",
	}
}

func isReserved(name string) bool {
	return slices.ContainsFunc(reserved(), func(r string) bool { return name == r || strings.HasSuffix(r, ".") && strings.HasPrefix(name, r) })
}

// Configured reads a spec's properties: lines "name=value", empty ones and those that begin with # left out. It returns ErrProperty, with every
// fault, for a line that is none, a name that comes twice, and one that a configuration may not set. It bounds what it takes.
func Configured(text string) (map[string]string, error) {
	if len(text) > maxProperties {
		return nil, fmt.Errorf("%w: %d bytes of properties, at most %d can be", ErrProperty, len(text), maxProperties)
	}
	all := map[string]string{}
	var faults []error
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		_, twice := all[name]
		switch {
		case !ok || !namePattern.MatchString(name):
			faults = append(faults, fmt.Errorf("%w: %q is not NAME=VALUE", ErrProperty, clip(line)))
		case twice:
			faults = append(faults, fmt.Errorf("%w: %s is there twice", ErrProperty, name))
		case isReserved(name):
			faults = append(faults, fmt.Errorf("%w: %s is not for a configuration to set", ErrProperty, name))
		default:
			all[name] = value
		}
	}
	return all, errors.Join(faults...)
}

func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
