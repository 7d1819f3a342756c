package kafka

import (
	"context"
	"net"
	"strings"

	"millrace/aws/door"
	"millrace/control"
	"millrace/engine"
)

// getBootstrapBrokers is GetBootstrapBrokers: one string for each kind of listener that the cluster has, of all its brokers.
func (s *Service) getBootstrapBrokers(ctx context.Context, c *door.Call) (any, error) {
	cl, err := s.cluster(ctx, c)
	if err != nil {
		return nil, err
	}
	switch cl.Phase {
	case control.Creating, control.Deleting, control.Broken:
		return nil, door.BadRequest("clusterArn", "You can't get bootstrap broker nodes for a cluster in %s state.", cl.Phase)
	}
	endpoints, err := s.world.Plane.Endpoints(ctx, cl.Name)
	if err != nil {
		return nil, err
	}
	return bootstrap(endpoints, cl.Settings.NetworkType == networkDual), nil
}

const networkDual = "DUAL"

// listenerWords are the kinds of listeners as the names of bootstrap strings end.
func listenerWords() map[string]string {
	return map[string]string{engine.Client: "", engine.ClientTLS: "Tls", engine.ClientScram: "SaslScram", engine.ClientIAM: "SaslIam"}
}

// bootstrap makes the strings of the endpoints of all listeners. In a network of both kinds, addresses of IPv6 have strings of their own.
func bootstrap(endpoints map[string][]string, dual bool) map[string]string {
	const start = "bootstrapBrokerString"
	all := map[string]string{}
	for listener, word := range listenerWords() {
		four, six := endpoints[listener], []string(nil)
		if dual {
			four, six = byFamily(four)
		}
		put(all, start+word, four)
		put(all, start+word+"Ipv6", six)
		if word == "" {
			continue // neither public nor private listeners go without TLS
		}
		put(all, start+"Public"+word, endpoints[listener+engine.PublicSuffix])
		put(all, start+"VpcConnectivity"+word, endpoints[listener+engine.PrivateSuffix])
	}
	return all
}

func put(all map[string]string, name string, addresses []string) {
	if len(addresses) > 0 {
		all[name] = strings.Join(addresses, ",")
	}
}

func byFamily(addresses []string) (four, six []string) {
	for _, a := range addresses {
		host, _, err := net.SplitHostPort(a)
		if ip := net.ParseIP(host); err == nil && ip != nil && ip.To4() == nil {
			six = append(six, a)
		} else {
			four = append(four, a)
		}
	}
	return four, six
}
