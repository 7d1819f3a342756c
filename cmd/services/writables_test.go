package services

import (
	"testing"

	"millrace/control/configuration"
	"millrace/express/settings"
)

// TestWritablesAreWhatBrokersTake: a property that configurations call live can be altered while brokers run, one that needs a start cannot, and
// brokers know both; what is only kept they do not know, or are told otherwise.
func TestWritablesAreWhatBrokersTake(t *testing.T) {
	defaults := map[string]settings.Definition{}
	for _, d := range settings.BrokerDefinitions() {
		defaults[d.Name] = d
	}
	for _, w := range configuration.Writables() {
		d, known := defaults[w.Name]
		switch w.Effect {
		case configuration.Live:
			if err := settings.CheckAlter(w.Name); err != nil {
				t.Errorf("%s is live: %v", w.Name, err)
			}
		case configuration.Start:
			if !known || !d.ReadOnly {
				t.Errorf("%s needs a start, and brokers know it: %v, and can alter it: %v", w.Name, known, !d.ReadOnly)
			}
			if fault := (brokerRules{}).Fault(w.Name, d.Default); fault != "" {
				t.Errorf("%s=%s: %s", w.Name, d.Default, fault)
			}
		case configuration.Kept:
			if known && w.Name != "advertised.listeners" {
				t.Errorf("%s is only kept, and brokers know it", w.Name)
			}
		}
	}
	for text, want := range map[string]bool{
		"num.partitions=3\nlog.retention.ms=1000\nmax.connections=10": true, "num.partitions=0": false, "auto.create.topics.enable=perhaps": false,
		"broker.id=4": false, "group.max.session.timeout.ms=10": false, "nonsense=1": false, "compression.type=gzip\nlog.cleanup.policy=compact,delete": true,
	} {
		if _, err := configuration.Check([]byte(text), brokerRules{}); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}
