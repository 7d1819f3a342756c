package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"millrace/aws/arn"
	"millrace/aws/door"
	"millrace/aws/kafka/fault"
	"millrace/control"
)

// States of operations and of their steps, in the words of the API.
const (
	operationPending    = "PENDING"
	operationInProgress = "UPDATE_IN_PROGRESS"
	operationComplete   = "UPDATE_COMPLETE"
	operationFailed     = "UPDATE_FAILED"
)

type errorInfo struct {
	Code string `json:"errorCode"`
	Text string `json:"errorString"`
}

type stepStatus struct {
	Status string `json:"stepStatus"`
}

type operationStep struct {
	Info stepStatus `json:"stepInfo"`
	Name string     `json:"stepName"`
}

type brokerCountUpdate struct {
	Created []double `json:"createdBrokerIds,omitempty"`
	Deleted []double `json:"deletedBrokerIds,omitempty"`
}

// mutable is what of a cluster an operation changes, before or after it; what it does not change is left out.
type mutable struct {
	Volumes        []brokerVolume        `json:"brokerEBSVolumeInfo,omitempty"`
	Configuration  *configurationInfo    `json:"configurationInfo,omitempty"`
	Brokers        int                   `json:"numberOfBrokerNodes,omitempty"`
	Monitoring     string                `json:"enhancedMonitoring,omitempty"`
	Open           *openMonitoring       `json:"openMonitoring,omitempty"`
	KafkaVersion   string                `json:"kafkaVersion,omitempty"`
	Logging        json.RawMessage       `json:"loggingInfo,omitempty"`
	InstanceType   string                `json:"instanceType,omitempty"`
	Authentication *clientAuthentication `json:"clientAuthentication,omitempty"`
	Encryption     *encryptionInfo       `json:"encryptionInfo,omitempty"`
	Connectivity   *connectivityInfo     `json:"connectivityInfo,omitempty"`
	StorageMode    string                `json:"storageMode,omitempty"`
	Count          *brokerCountUpdate    `json:"brokerCountUpdateInfo,omitempty"`
	Rebalancing    *rebalancing          `json:"rebalancing,omitempty"`
}

// work is what an operation is made of.
type work struct {
	Steps  []operationStep `json:"operationSteps"`
	Source *mutable        `json:"sourceClusterInfo,omitempty"`
	Target *mutable        `json:"targetClusterInfo,omitempty"`
}

type operationInfo struct {
	Cluster string     `json:"clusterArn"`
	Created string     `json:"creationTime,omitempty"`
	Ended   string     `json:"endTime,omitempty"`
	Error   *errorInfo `json:"errorInfo,omitempty"`
	ARN     string     `json:"operationArn"`
	State   string     `json:"operationState"`
	Type    string     `json:"operationType"`
	work
}

type operationSummary struct {
	Cluster     string `json:"clusterArn"`
	ClusterType string `json:"clusterType"`
	Started     string `json:"startTime,omitempty"`
	Ended       string `json:"endTime,omitempty"`
	ARN         string `json:"operationArn"`
	State       string `json:"operationState"`
	Type        string `json:"operationType"`
}

type operationInfoV2 struct {
	operationSummary
	Error       *errorInfo `json:"errorInfo,omitempty"`
	Provisioned *work      `json:"provisioned,omitempty"`
}

// describeClusterOperation is DescribeClusterOperation.
func (s *Service) describeClusterOperation(ctx context.Context, c *door.Call) (any, error) {
	cl, op, err := s.operation(ctx, c)
	if err != nil {
		return nil, err
	}
	return struct {
		Info operationInfo `json:"clusterOperationInfo"`
	}{s.operationInfo(cl, op)}, nil
}

// describeClusterOperationV2 is DescribeClusterOperationV2.
func (s *Service) describeClusterOperationV2(ctx context.Context, c *door.Call) (any, error) {
	cl, op, err := s.operation(ctx, c)
	if err != nil {
		return nil, err
	}
	info := operationInfoV2{operationSummary: s.operationSummary(cl, op), Error: errorOf(op)}
	if typeOf(cl) == control.Provisioned {
		info.Provisioned = ptr(s.work(op))
	}
	return struct {
		Info operationInfoV2 `json:"clusterOperationInfo"`
	}{info}, nil
}

// operation returns what the path names, and the cluster that it is on.
func (s *Service) operation(ctx context.Context, c *door.Call) (control.Cluster, control.Operation, error) {
	const param = "clusterOperationArn"
	r, err := s.home.Find(c.Params[param], arn.Operation)
	if err != nil {
		return control.Cluster{}, control.Operation{}, fault.ARN(param, err)
	}
	cl, err := s.find(ctx, s.home.Cluster(r.Name, r.ID))
	if err != nil {
		return cl, control.Operation{}, err
	}
	all, err := s.world.Plane.OperationsOf(ctx, cl.Name)
	if err != nil {
		return cl, control.Operation{}, err
	}
	i := slices.IndexFunc(all, func(op control.Operation) bool { return op.ID == r.Child })
	if i < 0 {
		return cl, control.Operation{}, fmt.Errorf("%w: %s", control.ErrNoOperation, r.Child)
	}
	return cl, all[i], nil
}

// listClusterOperations is ListClusterOperations: the latest first.
func (s *Service) listClusterOperations(ctx context.Context, c *door.Call) (any, error) {
	return operationPage(ctx, s, c, s.operationInfo)
}

// listClusterOperationsV2 is ListClusterOperationsV2.
func (s *Service) listClusterOperationsV2(ctx context.Context, c *door.Call) (any, error) {
	return operationPage(ctx, s, c, s.operationSummary)
}

// operationPage is a page of a cluster's operations, shown by one of the two ways.
func operationPage[T any](ctx context.Context, s *Service, c *door.Call, show func(control.Cluster, control.Operation) T) (any, error) {
	cl, err := s.cluster(ctx, c)
	if err != nil {
		return nil, err
	}
	all, err := s.world.Plane.OperationsOf(ctx, cl.Name)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(slices.Clone(all), func(op control.Operation) bool { return op.ID == "" }) // of before there were ids
	page, next, err := door.Page(c, all, func(op control.Operation) string { return fmt.Sprintf("%019d", maxNumber-op.Number) })
	if err != nil {
		return nil, err
	}
	list := make([]T, 0, len(page))
	for _, op := range page {
		list = append(list, show(cl, op))
	}
	return struct {
		List []T    `json:"clusterOperationInfoList"`
		Next string `json:"nextToken,omitempty"`
	}{list, next}, nil
}

// maxNumber is above the number of any operation, and has as many digits as the keys by which they are sorted.
const maxNumber = int64(1e18)

func (s *Service) operationInfo(cl control.Cluster, op control.Operation) operationInfo {
	return operationInfo{
		Cluster: s.arnOf(cl), Created: timestamp(op.Began), Ended: timestamp(op.Ended), Error: errorOf(op),
		ARN: s.operationARN(cl, op), State: operationState(op), Type: operationType(op), work: s.work(op),
	}
}

func (s *Service) operationSummary(cl control.Cluster, op control.Operation) operationSummary {
	return operationSummary{
		Cluster: s.arnOf(cl), ClusterType: string(typeOf(cl)), Started: timestamp(op.Began), Ended: timestamp(op.Ended),
		ARN: s.operationARN(cl, op), State: operationState(op), Type: operationType(op),
	}
}

// operationType is what an operation is called: one that no call of the API has begun has a name there too.
func operationType(op control.Operation) string {
	kind := op.Request.Kind
	if op.Type != "" && op.Type != string(kind) {
		return op.Type
	}
	switch kind {
	case control.Create, control.Delete:
		return string(kind) + "_CLUSTER"
	case control.Scale:
		if op.Before != nil && op.Request.Brokers < op.Before.Brokers {
			return decreaseCount
		}
		return increaseCount
	case control.Logins:
		return updateSecurity
	case control.Roll, control.Reboot:
		return rebootNode
	case control.Upgrade, control.Patch:
		return "BROKER_UPDATE"
	case control.Replace:
		return "HEAL_CLUSTER"
	}
	return string(kind)
}

func operationState(op control.Operation) string {
	switch op.State {
	case control.Done:
		return operationComplete
	case control.Failed:
		return operationFailed
	}
	begun := func(step control.Step) bool { return step.State != control.Pending }
	if len(op.Steps) > 0 && !slices.ContainsFunc(op.Steps, begun) {
		return operationPending
	}
	return operationInProgress
}

func errorOf(op control.Operation) *errorInfo {
	if op.State != control.Failed {
		return nil
	}
	return &errorInfo{Code: orDefault(op.Fault.Code, "OPERATION_FAILED"), Text: orDefault(op.Fault.Message, op.Error)}
}

// work is the steps of an operation, and what it changes from what to what.
func (s *Service) work(op control.Operation) work {
	w := work{Steps: make([]operationStep, 0, len(op.Steps))}
	status := map[control.State]string{control.Pending: "PENDING", control.Running: "IN_PROGRESS", control.Done: "COMPLETED", control.Failed: "FAILED"}
	for _, step := range op.Steps {
		w.Steps = append(w.Steps, operationStep{Info: stepStatus{status[step.State]}, Name: step.Name})
	}
	if op.Before != nil && op.After != nil {
		before, after := s.difference(*op.Before, *op.After)
		w.Source, w.Target = &before, &after
	}
	return w
}

// difference is what two Settings do not have alike, as the API shows each.
func (s *Service) difference(before, after control.Settings) (source, target mutable) {
	source, target = s.mutable(before), s.mutable(after)
	a, b := reflect.ValueOf(&source).Elem(), reflect.ValueOf(&target).Elem()
	for i := range a.NumField() {
		if reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			a.Field(i).SetZero()
			b.Field(i).SetZero()
		}
	}
	if from, to := before.Brokers, after.Brokers; from > 0 && from != to {
		target.Count = &brokerCountUpdate{Created: ids(from+1, to), Deleted: ids(to+1, from)}
	}
	return source, target
}

// ids are the numbers of brokers, as the API writes them.
func ids(first, last int) (all []double) {
	for id := first; id <= last; id++ {
		all = append(all, double(id))
	}
	return all
}

func (s *Service) mutable(set control.Settings) mutable {
	w := waysOf(set)
	m := mutable{
		Configuration: configurationOf(s, set), Brokers: set.Brokers, Monitoring: orDefault(set.Monitoring, monitoringDefault),
		Open: openMonitoringOf(set.OpenMetrics), KafkaVersion: orDefault(set.KafkaVersion, control.DefaultKafkaVersion), Logging: set.Logging,
		InstanceType: orDefault(set.BrokerType, unbounded), Authentication: w.authentication(), Encryption: w.encryption(),
		Connectivity: connectivity(set), StorageMode: orDefault(set.StorageMode, storageLocal), Rebalancing: rebalancingOf(set),
	}
	if set.VolumeGiB > 0 {
		m.Volumes = []brokerVolume{{Broker: allBrokers, GiB: ptr(set.VolumeGiB), Throughput: throughputOf(set)}}
	}
	return m
}
