package render

import (
	"strings"

	"millrace/engine"
)

// nodeRule is how the name in the certificate of a broker, an agent or a control plane becomes NodePrincipal at the installation's own listener. A
// gateway's does not.
const nodeRule = `RULE:^CN=(broker-[0-9]+|agent|serve)\..*,OU=millrace-node,O=Millrace$/millrace,node/,DEFAULT`

// listeners sets what a node listens at and how, and by which listener it reaches the others.
func listeners(s engine.NodeSpec, p Place, all map[string]string) {
	var listen, told, protocols []string
	tls := false
	for _, l := range s.Served() {
		listen = append(listen, l.Name+"://"+l.Address)
		told = append(told, l.Name+"://"+l.Told())
		protocols = append(protocols, l.Name+":"+l.Protocol())
		tls = tls || l.TLS
		listener(l, all)
	}
	inside := s.Inside()
	if s.Role != engine.Controller {
		all["inter.broker.listener.name"] = inside.Name
		controllers := "PLAINTEXT"
		if inside.TLS {
			controllers = "SSL"
			own(engine.ControllerListener, all)
		}
		protocols = append(protocols, engine.ControllerListener+":"+controllers)
		all["advertised.listeners"] = strings.Join(told, ",")
	}
	all["listeners"] = strings.Join(listen, ",")
	all["listener.security.protocol.map"] = strings.Join(protocols, ",")
	if tls {
		all["ssl.keystore.type"], all["ssl.keystore.location"] = "PEM", p.KeyStore
		all["ssl.truststore.type"], all["ssl.truststore.location"] = "PEM", p.TrustStore
		all["ssl.enabled.protocols"] = "TLSv1.2,TLSv1.3"
		all["ssl.endpoint.identification.algorithm"] = "https"
		if s.Secure.Mapping != "" {
			all["ssl.principal.mapping.rules"] = s.Secure.Mapping
		}
	}
}

// listener sets what is a listener's own.
func listener(l engine.Listener, all map[string]string) {
	prefix := "listener.name." + strings.ToLower(l.Name) + "."
	if l.TLS {
		auth := "none"
		switch l.ClientCert {
		case engine.CertWant:
			auth = "requested"
		case engine.CertNeed:
			auth = "required"
		}
		all[prefix+"ssl.client.auth"] = auth
	}
	if l.TLS && (l.Name == engine.Internal || l.Name == engine.ControllerListener) {
		own(l.Name, all)
	}
	var mechanisms []string
	for _, m := range l.Mechanisms {
		mechanisms = append(mechanisms, string(m))
		all[prefix+strings.ToLower(string(m))+".sasl.jaas.config"] = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
	}
	if len(mechanisms) > 0 {
		all[prefix+"sasl.enabled.mechanisms"] = strings.Join(mechanisms, ",")
	}
}

// own sets what holds at a listener of the installation's own: who comes shows a certificate, and a node's is known (R4).
func own(name string, all map[string]string) {
	prefix := "listener.name." + strings.ToLower(name) + "."
	all[prefix+"ssl.client.auth"] = "required"
	all[prefix+"ssl.principal.mapping.rules"] = nodeRule
}

// authorize sets who may do what.
func authorize(s engine.NodeSpec, all map[string]string) {
	if !s.Secure.Authorize {
		return
	}
	all["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
	supers := []string{NodePrincipal}
	if s.Secure.Super != "" {
		supers = append(supers, s.Secure.Super)
	}
	all["super.users"] = strings.Join(supers, ";")
}
