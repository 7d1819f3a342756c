package action

import (
	"errors"
	"fmt"
	"strings"
)

// DefaultRegion is the region of an installation that was not told one.
const DefaultRegion = "us-east-1"

// ErrARN: the text is not an ARN of a cluster or of something in one.
var ErrARN = errors.New("action: not an ARN of a Kafka resource")

// Cluster is what the ARNs of a cluster and of all in it are made of. The zero value makes no valid ARN.
type Cluster struct {
	Region  string // us-east-1
	Account string // 12 digits
	Name    string
	UUID    string // the cluster id; without slashes
}

// ARN is the cluster's own.
func (c Cluster) ARN() string {
	return c.prefix(OnCluster)
}

// Resource is the ARN of something of the kind in the cluster. For OnCluster the name does not count.
func (c Cluster) Resource(kind Kind, name string) string {
	if kind == OnCluster {
		return c.ARN()
	}
	return c.prefix(kind) + "/" + name
}

// Prefix is the beginning that all ARNs of a kind in the cluster share, with the slash before the name: for callers that
// make many.
func (c Cluster) Prefix(kind Kind) string {
	return c.prefix(kind) + "/"
}

func (c Cluster) prefix(kind Kind) string {
	return "arn:aws:kafka:" + c.Region + ":" + c.Account + ":" + string(kind) + "/" + c.Name + "/" + c.UUID
}

// ParseARN splits the ARN of a cluster or of something in one; name is "" for a cluster. The error is ErrARN.
func ParseARN(arn string) (c Cluster, kind Kind, name string, err error) {
	const segments = 6
	s := strings.SplitN(arn, ":", segments)
	if len(s) < segments || s[0] != "arn" || s[2] != "kafka" || s[1] == "" {
		return Cluster{}, "", "", fmt.Errorf("%w: %q", ErrARN, arn)
	}
	const pieces = 4
	r := strings.SplitN(s[5], "/", pieces)
	if len(r) < pieces-1 || r[1] == "" || r[2] == "" {
		return Cluster{}, "", "", fmt.Errorf("%w: %q", ErrARN, arn)
	}
	kind = Kind(r[0])
	c = Cluster{Region: s[3], Account: s[4], Name: r[1], UUID: r[2]}
	switch kind {
	case OnCluster:
		if len(r) == pieces {
			return Cluster{}, "", "", fmt.Errorf("%w: %q", ErrARN, arn)
		}
	case OnTopic, OnGroup, OnTransactionalID:
		if len(r) < pieces {
			return Cluster{}, "", "", fmt.Errorf("%w: %q", ErrARN, arn)
		}
		name = r[pieces-1]
	default:
		return Cluster{}, "", "", fmt.Errorf("%w: %q", ErrARN, arn)
	}
	return c, kind, name, nil
}
