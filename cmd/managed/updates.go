package managed

import (
	"context"
	"net/http"
)

// Update is one change of a provisioned cluster: one operation of the API. Make it with the functions of this file.
type Update struct {
	method, path string
	body         map[string]any
	unversioned  bool
}

// Begin begins an update of the cluster as it was read, and returns the operation's ARN.
func (cl *Client) Begin(ctx context.Context, c Cluster, u Update) (operation string, err error) {
	body := map[string]any{}
	for k, v := range u.body {
		body[k] = v
	}
	if !u.unversioned {
		body["currentVersion"] = c.Version
	}
	var begun struct {
		Operation string `json:"clusterOperationArn"`
	}
	err = cl.do(ctx, u.method, of(v1Clusters, c.ARN)+u.path, body, &begun)
	return begun.Operation, err
}

func put(path, key string, value any) Update {
	return Update{method: http.MethodPut, path: path, body: map[string]any{key: value}}
}

// UpdateCount changes the number of brokers.
func UpdateCount(brokers int) Update {
	return put("/nodes/count", "targetNumberOfBrokerNodes", brokers)
}

// UpdateType changes the type of all brokers.
func UpdateType(instance string) Update { return put("/nodes/type", "targetInstanceType", instance) }

// UpdateConfiguration has the cluster use a revision of a configuration.
func UpdateConfiguration(r Revision) Update { return put("/configuration", "configurationInfo", r) }

// UpdateVersion changes the version of Apache Kafka that the cluster is like.
func UpdateVersion(version string) Update { return put("/version", "targetKafkaVersion", version) }

// UpdateRebalancing lets partitions be evened out (ACTIVE), or not (PAUSED).
func UpdateRebalancing(status string) Update {
	return put("/rebalancing", "rebalancing", Rebalancing{status})
}

// UpdateMonitoring changes the level of metrics, and the exporters where open is not nil.
func UpdateMonitoring(level string, open *OpenMonitoring) Update {
	u := put("/monitoring", "enhancedMonitoring", level)
	if open != nil {
		u.body["openMonitoring"] = open
	}
	return u
}

// UpdatePublic opens listeners for everybody, or closes them.
func UpdatePublic(open bool) Update {
	kind := PublicOff
	if open {
		kind = PublicOn
	}
	return put("/connectivity", "connectivityInfo", Connectivity{Public: &PublicAccess{kind}})
}

// UpdateSecurity changes the logins (nil: they stay) and what clients speak ("": it stays).
func UpdateSecurity(logins []string, clientBroker string) Update {
	u := Update{method: http.MethodPatch, path: "/security", body: map[string]any{}}
	if logins != nil {
		u.body["clientAuthentication"] = AuthenticationOf(logins)
	}
	if clientBroker != "" {
		u.body["encryptionInfo"] = Encryption{Transit: &Transit{ClientBroker: clientBroker}}
	}
	return u
}

// Reboot restarts one broker.
func Reboot(broker string) Update {
	u := put("/reboot-broker", "brokerIds", []string{broker})
	u.unversioned = true
	return u
}
