package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"strings"

	"millrace/cmd/managed"
)

func (p *planner) cluster(c *Cluster) {
	there, ok := p.now.clusters[c.Name]
	switch {
	case ok && there.State != managed.Active:
		p.faults.add(c.Line, "cluster %s is %s: %s; `millrace cluster delete %s` takes it away", c.Name, there.State, there.StateInfo.Message, c.Name)
		return
	case ok && (there.Provisioned == nil) != (c.Provisioned == nil):
		p.faults.add(c.Line, "cluster %s is %s, and stays so: delete it first, or choose another name", c.Name, strings.ToLower(there.Type))
		return
	case !ok:
		p.create(c)
	case c.Provisioned != nil:
		p.provisioned(c, there)
	default:
		p.serverless(c, there)
	}
	p.tags(c, there, ok)
	for _, t := range c.Topics {
		p.topic(c, there, t)
	}
	p.policy(c, there)
}

// create makes a cluster. Tags go with it.
func (p *planner) create(c *Cluster) {
	want := managed.Cluster{Name: c.Name, Tags: c.Tags}
	var details []string
	if s := c.Serverless; s != nil {
		want.Serverless = &managed.Serverless{VPCs: []managed.VPC{{Subnets: s.Subnets, SecurityGroups: s.SecurityGroups}}}
		details = append(details, "serverless")
	} else {
		want.Provisioned = c.Provisioned.asked()
		details = append(details, fmt.Sprintf("%d × %s, Kafka %s", c.Provisioned.Brokers, c.Provisioned.InstanceType, c.Provisioned.KafkaVersion))
		if c.Provisioned.Configuration != "" {
			p.known(c)
			details = append(details, "configuration: "+c.Provisioned.Configuration)
		}
		if len(c.Provisioned.Authentication) > 0 {
			details = append(details, "authentication: "+strings.Join(c.Provisioned.Authentication, ", "))
		}
	}
	details = append(details, tagDetails(nil, c.Tags)...)
	p.add(actionCreate, "cluster", c.Name, c.Line, details, func(ctx context.Context, w *carrier) error {
		if c.Provisioned != nil && c.Provisioned.Configuration != "" {
			r, err := w.api.Revision(ctx, c.Provisioned.Configuration)
			if err != nil {
				return err
			}
			want.Provisioned.Configuration = &r
		}
		arn, err := w.api.Create(ctx, want)
		if err != nil {
			return err
		}
		_, err = w.api.Settle(ctx, arn, w.progress)
		return err
	})
	// What a new cluster cannot be told at once.
	if v := c.Provisioned; v != nil && v.Public != nil && *v.Public {
		p.update(c, "publicAccess", []string{"publicAccess: false -> true"}, constant(managed.UpdatePublic(true)))
	}
}

// asked is the cluster as a request for a new one has it, but for its configuration.
func (p *Provisioned) asked() *managed.Provisioned {
	want := &managed.Provisioned{
		Nodes:   managed.NodeGroup{InstanceType: p.InstanceType, ClientSubnets: p.ClientSubnets, SecurityGroups: p.SecurityGroups},
		Brokers: p.Brokers, KafkaVersion: p.KafkaVersion, Monitoring: p.Monitoring,
	}
	if len(p.Authentication) > 0 {
		want.Authentication = managed.AuthenticationOf(p.Authentication)
	}
	if p.Encryption != "" {
		want.Encryption = &managed.Encryption{Transit: &managed.Transit{ClientBroker: p.Encryption}}
	}
	if p.Rebalancing != "" {
		want.Rebalancing = &managed.Rebalancing{Status: p.Rebalancing}
	}
	return want
}

// known finds a fault where a cluster uses a configuration that neither is there nor will be.
func (p *planner) known(c *Cluster) bool {
	name, _ := revisionOf(c.Provisioned.Configuration)
	if _, there := p.now.configurations[name]; there || p.file.configuration(name) != nil {
		return true
	}
	p.faults.add(c.Provisioned.at("configuration"), "cluster %s: there is no configuration %s, neither here nor in this file", c.Name, name)
	return false
}

// revisionOf splits NAME:REVISION; 0 is the latest.
func revisionOf(text string) (name string, number int64) {
	if at := strings.LastIndexByte(text, ':'); at >= 0 {
		if n, err := strconv.ParseInt(text[at+1:], 10, 64); err == nil && n > 0 {
			return text[:at], n
		}
	}
	return text, 0
}

// making makes an update when its turn has come.
type making func(ctx context.Context, w *carrier) (managed.Update, error)

func constant(u managed.Update) making {
	return func(context.Context, *carrier) (managed.Update, error) { return u, nil }
}

// update is one operation on a cluster, of the version that it then has.
func (p *planner) update(c *Cluster, field string, details []string, make making) {
	line := c.Line
	if c.Provisioned != nil {
		line = c.Provisioned.at(field)
	}
	p.add(actionUpdate, "cluster", c.Name, line, details, func(ctx context.Context, w *carrier) error {
		u, err := make(ctx, w)
		if err != nil {
			return err
		}
		now, err := w.api.Find(ctx, c.Name)
		if err != nil {
			return err
		}
		operation, err := w.api.Begin(ctx, now, u)
		if err != nil {
			return err
		}
		if _, err := w.api.Done(ctx, operation, w.progress); err != nil {
			return err
		}
		_, err = w.api.Settle(ctx, now.ARN, w.progress)
		return err
	})
}

func arrow(name string, before, after any) []string {
	return []string{fmt.Sprintf("%s: %v -> %v", name, before, after)}
}

// provisioned is what differs of a cluster that there is, in the order in which it is done.
func (p *planner) provisioned(c *Cluster, there cluster) {
	want, now := c.Provisioned, there.Provisioned
	p.fixed(c, want.Place, "clientSubnets", want.ClientSubnets, now.Nodes.ClientSubnets)
	p.fixed(c, want.Place, "securityGroups", want.SecurityGroups, now.Nodes.SecurityGroups)
	if want.InstanceType != now.Nodes.InstanceType {
		p.update(c, "instanceType", arrow("instanceType", now.Nodes.InstanceType, want.InstanceType), constant(managed.UpdateType(want.InstanceType)))
	}
	if want.Brokers != now.Brokers {
		p.update(c, "brokers", arrow("brokers", now.Brokers, want.Brokers), constant(managed.UpdateCount(want.Brokers)))
	}
	p.uses(c, now.Software)
	if want.KafkaVersion != now.Software.KafkaVersion {
		p.update(c, "kafkaVersion", arrow("kafkaVersion", now.Software.KafkaVersion, want.KafkaVersion), constant(managed.UpdateVersion(want.KafkaVersion)))
	}
	p.security(c, now)
	public := now.Nodes.Connectivity != nil && now.Nodes.Connectivity.Public != nil && now.Nodes.Connectivity.Public.Type == managed.PublicOn
	if want.Public != nil && *want.Public != public {
		p.update(c, "publicAccess", arrow("publicAccess", public, *want.Public), constant(managed.UpdatePublic(*want.Public)))
	}
	if want.Monitoring != "" && want.Monitoring != now.Monitoring {
		p.update(c, "enhancedMonitoring", arrow("enhancedMonitoring", now.Monitoring, want.Monitoring), constant(managed.UpdateMonitoring(want.Monitoring, nil)))
	}
	if status := "ACTIVE"; want.Rebalancing != "" {
		if now.Rebalancing != nil {
			status = now.Rebalancing.Status
		}
		if want.Rebalancing != status {
			p.update(c, "rebalancing", arrow("rebalancing", status, want.Rebalancing), constant(managed.UpdateRebalancing(want.Rebalancing)))
		}
	}
}

// security is what differs of logins and encryption: one operation for both.
func (p *planner) security(c *Cluster, now *managed.Provisioned) {
	want := c.Provisioned
	var details []string
	field := "authentication"
	logins, transit := []string(nil), ""
	if have := now.Authentication.Names(); want.has("authentication") && !sameSet(want.Authentication, have) {
		logins = want.Authentication
		details = append(details, arrow("authentication", strings.Join(have, ", "), strings.Join(logins, ", "))...)
	}
	if have := now.Encryption.ClientBroker(); want.Encryption != "" && want.Encryption != have {
		if logins == nil {
			field = "encryptionInTransit"
		}
		transit = want.Encryption
		details = append(details, arrow("encryptionInTransit", have, transit)...)
	}
	if details != nil {
		p.update(c, field, details, constant(managed.UpdateSecurity(logins, transit)))
	}
}

// uses is the configuration of a cluster: the latest revision is the one that there is when this plan is carried out.
func (p *planner) uses(c *Cluster, now managed.Software) {
	text := c.Provisioned.Configuration
	if text == "" || !p.known(c) {
		return
	}
	name, number := revisionOf(text)
	there, ok := p.now.configurations[name]
	if number == 0 && ok {
		if number = there.Latest.Number; p.revised[name] {
			number++
		}
	}
	if ok && there.ARN == now.Configuration && number == now.Revision {
		return
	}
	before := "none"
	if now.Configuration != "" {
		before = fmt.Sprintf("%s:%d", managed.Short(now.Configuration), now.Revision)
	}
	p.update(c, "configuration", arrow("configuration", before, fmt.Sprintf("%s:%d", name, max(number, 1))), func(ctx context.Context, w *carrier) (managed.Update, error) {
		r, err := w.api.Revision(ctx, text)
		return managed.UpdateConfiguration(r), err
	})
}

// fixed finds a fault where a list differs that cannot be changed.
func (p *planner) fixed(c *Cluster, at Place, field string, want, now []string) {
	if at.has(field) && !sameSet(want, now) {
		p.faults.add(at.at(field), "cluster %s: %s is [%s] and cannot be changed: delete the cluster first, or choose another name",
			c.Name, field, strings.Join(now, ", "))
	}
}

func (p *planner) serverless(c *Cluster, there cluster) {
	var subnets, groups []string
	for _, v := range there.Serverless.VPCs {
		subnets, groups = append(subnets, v.Subnets...), append(groups, v.SecurityGroups...)
	}
	p.fixed(c, c.Serverless.Place, "clientSubnets", c.Serverless.Subnets, subnets)
	p.fixed(c, c.Serverless.Place, "securityGroups", c.Serverless.SecurityGroups, groups)
}

func (p *planner) tags(c *Cluster, there cluster, exists bool) {
	if !exists || !c.has("tags") || maps.Equal(c.Tags, there.Tags) {
		return
	}
	set, remove := map[string]string{}, []string(nil)
	for k, v := range c.Tags {
		if old, ok := there.Tags[k]; !ok || old != v {
			set[k] = v
		}
	}
	for k := range there.Tags {
		if _, ok := c.Tags[k]; !ok {
			remove = append(remove, k)
		}
	}
	p.add(actionUpdate, "tags", c.Name, c.at("tags"), tagDetails(there.Tags, c.Tags), func(ctx context.Context, w *carrier) error {
		return w.api.Tag(ctx, there.ARN, set, remove)
	})
}

func tagDetails(before, after map[string]string) []string {
	list := differences(before, after)
	for i := range list {
		list[i] = "tag " + list[i]
	}
	return list
}

func (p *planner) policy(c *Cluster, there cluster) {
	if c.Policy == nil {
		return
	}
	action := actionCreate
	if there.ARN != "" && there.policy != "" {
		want, err := c.document(there.ARN, accountOf(there.ARN))
		if err != nil || sameJSON(want, there.policy) {
			return // it was read before, so err is nil
		}
		action = actionUpdate
	}
	p.add(action, "policy", c.Name, c.at("policy"), nil, func(ctx context.Context, w *carrier) error {
		now, err := w.api.Find(ctx, c.Name)
		if err != nil {
			return err
		}
		text, err := c.document(now.ARN, accountOf(now.ARN))
		if err != nil {
			return err
		}
		return w.api.SetPolicy(ctx, now.ARN, text, there.policyVersion)
	})
}

// accountOf is the account of an ARN.
func accountOf(arn string) string {
	const field = 4
	if parts := strings.Split(arn, ":"); len(parts) > field {
		return parts[field]
	}
	return ""
}

func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}
