package door

import (
	"fmt"
	"net/netip"
	"time"

	"millrace/cmd/api"
	"millrace/control"
	"millrace/secure/iam"
	"millrace/secure/iam/policy"
	"millrace/secure/identity"
)

// onKey is whose key it is; of one that there is not, the account itself, so that who may not look does not learn which there are.
func onKey(c *securityCall) string {
	k, err := c.Store.KeyOf(c.ctx(), c.r.PathValue("id"))
	if err != nil || k.User == "" {
		return c.arn("root", "")
	}
	return c.arn("user/", k.User)
}

// rootOnly keeps root's keys to root: who may change them would be root.
func (c *securityCall) rootOnly(id string) error {
	k, err := c.Store.KeyOf(c.ctx(), id)
	if err == nil && k.User == "" && c.who.IAM.ARN != c.arn("root", "") {
		return fmt.Errorf("%w: only root changes root's access keys", iam.ErrDenied)
	}
	return err
}

// keyState is an access key without its secret, in AWS's words. That somebody's key is inactive takes no protection away, as "enabled": false of a
// protection would.
func keyState(c *securityCall) (any, error) {
	k, err := c.Store.KeyOf(c.ctx(), c.r.PathValue("id"))
	status := "Inactive"
	if k.Enabled {
		status = "Active"
	}
	return map[string]string{"access_key_id": k.ID, "user": k.User, "status": status}, err
}

func keyRoutes() []route {
	const one = api.Security + "/keys/{id}"
	return []route{
		at("GET "+api.Security+"/keys", "iam:ListAccessKeys", nil, func(c *securityCall) (any, error) {
			keys, err := c.Store.Keys(c.ctx(), "", true)
			return map[string]any{"keys": keys}, err
		}),
		at("POST "+api.Security+"/root/keys", "iam:CreateAccessKey", func(c *securityCall) string { return c.arn("root", "") }, func(c *securityCall) (any, error) {
			if c.who.IAM.ARN != c.arn("root", "") {
				return nil, fmt.Errorf("%w: only root makes access keys of root", iam.ErrDenied)
			}
			return c.Store.CreateKey(c.ctx(), "")
		}),
		at("PUT "+one, "iam:UpdateAccessKey", onKey, func(c *securityCall) (any, error) {
			id, b := c.r.PathValue("id"), api.KeyState{}
			if err := c.body(&b); err != nil {
				return nil, err
			}
			if err := c.rootOnly(id); err != nil {
				return nil, err
			}
			return map[string]any{"access_key_id": id, "enabled": b.Enabled}, c.Store.SetKey(c.ctx(), id, b.Enabled)
		}).of(keyState),
		at("DELETE "+one, "iam:DeleteAccessKey", onKey, func(c *securityCall) (any, error) {
			id := c.r.PathValue("id")
			if err := c.rootOnly(id); err != nil {
				return nil, err
			}
			return map[string]any{"access_key_id": id}, c.Store.DeleteKey(c.ctx(), id)
		}).of(keyState),
	}
}

// sessionRoutes are what every key may ask for: who it is, and sessions, of which the trust policy of the role decides; and what would be.
func sessionRoutes() []route {
	return []route{
		{pattern: "GET " + api.Security + "/whoami", action: "sts:GetCallerIdentity", do: (*securityCall).whoami, free: true, quiet: true},
		{pattern: "POST " + api.Security + "/session", action: "sts:GetSessionToken", do: (*securityCall).sessionToken, free: true},
		{pattern: "POST " + api.Security + "/assume-role", action: "sts:AssumeRole", do: (*securityCall).assumeRole, free: true},
		{pattern: "POST " + api.Security + "/simulate", action: "iam:SimulatePrincipalPolicy", do: (*securityCall).simulate, quiet: true},
	}
}

func (c *securityCall) whoami() (any, error) {
	who := c.who.IAM
	return api.Whoami{Account: who.Account, ARN: who.ARN, UserID: who.UserID, AccessKey: who.AccessKey}, nil
}

func (c *securityCall) sessionToken() (any, error) {
	var b api.Assume
	if err := c.body(&b); err != nil {
		return nil, err
	}
	return c.View.SessionToken(c.who.IAM, time.Duration(b.Seconds)*time.Second)
}

func (c *securityCall) assumeRole() (any, error) {
	var b api.Assume
	if err := c.body(&b); err != nil {
		return nil, err
	}
	return c.View.AssumeRole(c.who.IAM, iam.AssumeRole{
		Role: b.Role, Session: b.Session, Duration: time.Duration(b.Seconds) * time.Second, Policy: b.Policy, ExternalID: b.ExternalID, Tags: b.Tags,
		From: c.from, TLS: c.r.TLS != nil,
	})
}

func (c *securityCall) simulate() (any, error) {
	var b api.Simulation
	if err := c.body(&b); err != nil {
		return nil, err
	}
	var who *identity.IAM
	var err error
	switch {
	case b.User != "" && b.Role != "":
		return nil, fmt.Errorf("%w: give a user or a role, not both", errSecurityBody)
	case b.User == "" && b.Role == "":
		who = c.who.IAM
	default:
		who, err = c.View.Imagine(iam.Owner{Role: b.Role != "", Name: b.User + b.Role}, b.Session)
	}
	if err != nil {
		return nil, err
	}
	from := c.from
	if b.From != "" {
		if from, err = netip.ParseAddr(b.From); err != nil {
			return nil, fmt.Errorf("%w: from: %w", errSecurityBody, err)
		}
	}
	d, broken := c.View.Simulate(who, &policy.Request{Action: b.Action, Resource: b.Resource, Source: from, TLS: !b.Plain})
	answer := api.Simulated{Principal: who.ARN, Action: b.Action, Resource: b.Resource, Decision: "implicitDeny", Why: broken}
	switch {
	case d.Allowed:
		answer.Decision = "allowed"
	case d.Explicit:
		answer.Decision = "explicitDeny"
	}
	if broken == "" {
		answer.Why = d.Why()
	}
	return answer, nil
}

// clusterRoutes are the policy and the tags of a cluster.
func clusterRoutes() []route {
	const one = api.Security + "/clusters/{name}"
	onCluster := func(c *securityCall) string {
		arn, err := c.ClusterARN(c.ctx(), c.r.PathValue("name"))
		if err != nil {
			return "*"
		}
		return arn
	}
	// with gives the prefix of the cluster's keys, if there is the cluster.
	with := func(do func(c *securityCall, cluster string) (any, error)) func(*securityCall) (any, error) {
		return func(c *securityCall) (any, error) {
			if _, err := c.ClusterARN(c.ctx(), c.r.PathValue("name")); err != nil {
				return nil, err
			}
			return do(c, control.Prefix(c.r.PathValue("name")))
		}
	}
	policyOf := with(func(c *securityCall, cluster string) (any, error) {
		document, version, err := c.Store.ClusterPolicy(c.ctx(), cluster)
		return api.Document{Document: document, Version: version}, err
	})
	tagsOf := with(func(c *securityCall, cluster string) (any, error) {
		tags, err := c.Store.ClusterTags(c.ctx(), cluster)
		return map[string]any{"tags": tags}, err
	})
	return []route{
		at("GET "+one+"/policy", "kafka:GetClusterPolicy", onCluster, policyOf),
		at("PUT "+one+"/policy", "kafka:PutClusterPolicy", onCluster, with(func(c *securityCall, cluster string) (any, error) {
			var b api.Document
			if err := c.body(&b); err != nil {
				return nil, err
			}
			version, err := c.Store.SetClusterPolicy(c.ctx(), cluster, b.Document, b.Version)
			return api.Document{Document: b.Document, Version: version}, err
		})).of(policyOf),
		at("DELETE "+one+"/policy", "kafka:DeleteClusterPolicy", onCluster, with(func(c *securityCall, cluster string) (any, error) {
			return named{c.r.PathValue("name")}, c.Store.DeleteClusterPolicy(c.ctx(), cluster)
		})).of(policyOf),
		at("GET "+one+"/tags", "kafka:ListTagsForResource", onCluster, tagsOf),
		at("PUT "+one+"/tags", "kafka:TagResource", onCluster, with(func(c *securityCall, cluster string) (any, error) {
			var b api.Tags
			if err := c.body(&b); err != nil {
				return nil, err
			}
			return map[string]any{"tags": b.Set}, c.Store.SetClusterTags(c.ctx(), cluster, b.Set)
		})).of(tagsOf),
	}
}
