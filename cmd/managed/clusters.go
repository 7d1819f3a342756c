package managed

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// ErrNoCluster: there is no cluster of the name that was given.
var ErrNoCluster = errors.New("no such cluster")

// New clusters, as they are asked for; one of Provisioned and Serverless is set.
type create struct {
	Name        string            `json:"clusterName"`
	Tags        map[string]string `json:"tags,omitempty"`
	Provisioned *Provisioned      `json:"provisioned,omitempty"`
	Serverless  *Serverless       `json:"serverless,omitempty"`
}

// Create begins to make a cluster of the Name, the Tags and one of Provisioned and Serverless that c has, and returns its ARN.
func (cl *Client) Create(ctx context.Context, c Cluster) (arn string, err error) {
	var made struct {
		ARN string `json:"clusterArn"`
	}
	err = cl.do(ctx, http.MethodPost, v2Clusters, create{c.Name, c.Tags, c.Provisioned, c.Serverless}, &made)
	return made.ARN, err
}

// Clusters lists the clusters whose names begin with prefix, of one type; "": of any.
func (cl *Client) Clusters(ctx context.Context, prefix, of string) ([]Cluster, error) {
	query := url.Values{}
	if prefix != "" {
		query.Set("clusterNameFilter", prefix)
	}
	if of != "" {
		query.Set("clusterTypeFilter", of)
	}
	return all(ctx, v2Clusters, query, func(path string) ([]Cluster, string, error) {
		var answer struct {
			List []Cluster `json:"clusterInfoList"`
			Next string    `json:"nextToken"`
		}
		err := cl.do(ctx, http.MethodGet, path, nil, &answer)
		return answer.List, answer.Next, err
	})
}

// Find returns the cluster of a name or an ARN (M2), or ErrNoCluster.
func (cl *Client) Find(ctx context.Context, name string) (Cluster, error) {
	if strings.HasPrefix(name, "arn:") {
		c, err := cl.Describe(ctx, name)
		if NotFound(err) {
			err = fmt.Errorf("%w: %s", ErrNoCluster, name)
		}
		return c, err
	}
	found, err := cl.Clusters(ctx, name, "")
	if err != nil {
		return Cluster{}, err
	}
	for _, c := range found {
		if c.Name == name {
			return c, nil
		}
	}
	return Cluster{}, fmt.Errorf("%w: %s; `millrace cluster list` shows those that there are", ErrNoCluster, name)
}

// Describe returns the cluster of an ARN.
func (cl *Client) Describe(ctx context.Context, arn string) (Cluster, error) {
	var answer struct {
		Info Cluster `json:"clusterInfo"`
	}
	err := cl.do(ctx, http.MethodGet, of(v2Clusters, arn), nil, &answer)
	return answer.Info, err
}

// Delete begins to delete a cluster. version is that which is meant; "": any.
func (cl *Client) Delete(ctx context.Context, arn, version string) error {
	path := of(v1Clusters, arn)
	if version != "" {
		path += "?" + url.Values{"currentVersion": {version}}.Encode()
	}
	return cl.do(ctx, http.MethodDelete, path, nil, nil)
}

// Bootstrap returns the bootstrap strings of a cluster by the words of their logins: "" for plaintext, Tls, SaslScram, SaslIam, and the same
// with Public or VpcConnectivity before it.
func (cl *Client) Bootstrap(ctx context.Context, arn string) (map[string]string, error) {
	var answer map[string]string
	if err := cl.do(ctx, http.MethodGet, of(v1Clusters, arn, "bootstrap-brokers"), nil, &answer); err != nil {
		return nil, err
	}
	words := make(map[string]string, len(answer))
	for name, brokers := range answer {
		words[strings.TrimPrefix(name, "bootstrapBrokerString")] = brokers
	}
	return words, nil
}

// Nodes lists the brokers of a provisioned cluster.
func (cl *Client) Nodes(ctx context.Context, arn string) ([]Node, error) {
	return all(ctx, of(v1Clusters, arn, "nodes"), nil, func(path string) ([]Node, string, error) {
		var answer struct {
			List []Node `json:"nodeInfoList"`
			Next string `json:"nextToken"`
		}
		err := cl.do(ctx, http.MethodGet, path, nil, &answer)
		return answer.List, answer.Next, err
	})
}

// Operations lists what was and is done to a cluster, the latest first.
func (cl *Client) Operations(ctx context.Context, arn string) ([]Operation, error) {
	return all(ctx, of(v1Clusters, arn, "operations"), nil, func(path string) ([]Operation, string, error) {
		var answer struct {
			List []Operation `json:"clusterOperationInfoList"`
			Next string      `json:"nextToken"`
		}
		err := cl.do(ctx, http.MethodGet, path, nil, &answer)
		return answer.List, answer.Next, err
	})
}

// Operation returns one.
func (cl *Client) Operation(ctx context.Context, arn string) (Operation, error) {
	var answer struct {
		Info Operation `json:"clusterOperationInfo"`
	}
	err := cl.do(ctx, http.MethodGet, of(operations, arn), nil, &answer)
	return answer.Info, err
}

// Tag sets tags of a resource, and takes others away.
func (cl *Client) Tag(ctx context.Context, arn string, set map[string]string, remove []string) error {
	if len(set) > 0 {
		body := map[string]any{"tags": set}
		if err := cl.do(ctx, http.MethodPost, of(tags, arn), body, nil); err != nil {
			return err
		}
	}
	if len(remove) == 0 {
		return nil
	}
	return cl.do(ctx, http.MethodDelete, of(tags, arn)+"?"+url.Values{"tagKeys": remove}.Encode(), nil, nil)
}

// Policy returns the policy of a cluster, and its version; "": there is none.
func (cl *Client) Policy(ctx context.Context, arn string) (document, version string, err error) {
	var answer struct {
		Version string `json:"currentVersion"`
		Policy  string `json:"policy"`
	}
	err = cl.do(ctx, http.MethodGet, of(v1Clusters, arn, "policy"), nil, &answer)
	if NotFound(err) {
		return "", "", nil
	}
	return answer.Policy, answer.Version, err
}

// SetPolicy gives a cluster a policy. version is that of the one that it replaces; "": there is none.
func (cl *Client) SetPolicy(ctx context.Context, arn, document, version string) error {
	body := map[string]string{"policy": document}
	if version != "" {
		body["currentVersion"] = version
	}
	return cl.do(ctx, http.MethodPut, of(v1Clusters, arn, "policy"), body, nil)
}

// DeletePolicy takes the policy of a cluster away.
func (cl *Client) DeletePolicy(ctx context.Context, arn string) error {
	return cl.do(ctx, http.MethodDelete, of(v1Clusters, arn, "policy"), nil, nil)
}
