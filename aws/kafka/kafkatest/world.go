package kafkatest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"millrace/aws/arn"
	"millrace/aws/door"
	"millrace/aws/kafka"
	"millrace/secure/identity"
)

// World is a service on stand-ins.
type World struct {
	Plane          *Plane
	Configurations *Configurations
	Topics         *Topics
	Service        *kafka.Service
}

// Home is where a World is.
func Home() arn.Home { return arn.Home{Region: "us-east-1", Account: "123456789012"} }

// New makes a World with nothing in it.
func New() *World {
	w := &World{Plane: NewPlane(), Configurations: NewConfigurations(), Topics: NewTopics()}
	w.Service = kafka.New(kafka.World{Plane: w.Plane, Configurations: w.Configurations, Topics: w.Topics},
		kafka.Config{Home: Home()})
	return w
}

// Copy is another World in the same state, that does not change with this one. What Fail answers is not copied.
func (w *World) Copy() *World {
	other := New()
	other.Plane.All, other.Plane.Changes, other.Plane.ids = maps.Clone(w.Plane.All), w.Plane.Changes, w.Plane.ids
	for name, all := range w.Plane.Done {
		other.Plane.Done[name] = slices.Clone(all)
		for i := range all {
			other.Plane.Done[name][i].Steps = slices.Clone(all[i].Steps)
		}
	}
	other.Configurations.All, other.Configurations.Used = maps.Clone(w.Configurations.All), maps.Clone(w.Configurations.Used)
	other.Configurations.Texts, other.Configurations.Changes = maps.Clone(w.Configurations.Texts), w.Configurations.Changes
	other.Topics.All, other.Topics.Changes = maps.Clone(w.Topics.All), w.Topics.Changes
	return other
}

// Changes are all that were let through.
func (w *World) Changes() int { return w.Plane.Changes + w.Configurations.Changes + w.Topics.Changes }

// Ask is one call of an operation.
type Ask struct {
	Operation string
	Params    map[string]string // labels of the path
	Query     url.Values
	Body      string
}

// Call has the service answer, as the door would after it let the caller in: the status, and what is encoded. An error that is not for
// clients comes back as err.
func (w *World) Call(ctx context.Context, a Ask) (status int, answer []byte, err error) {
	all := w.Service.Operations()
	i := slices.IndexFunc(all, func(op door.Operation) bool { return op.Name == a.Operation })
	if i < 0 {
		return 0, nil, fmt.Errorf("no operation %q", a.Operation)
	}
	got, err := all[i].Handle(ctx, &door.Call{Params: a.Params, Query: a.Query, Body: []byte(a.Body), Caller: identity.Nobody(), Header: http.Header{}})
	var told *door.Error
	if errors.As(err, &told) {
		answer, err := json.Marshal(map[string]string{"code": told.Code, "message": told.Message, "invalidParameter": told.InvalidParameter})
		return told.Status, answer, err
	}
	if err != nil {
		return 0, nil, err
	}
	answer, err = json.MarshalIndent(got, "", "  ")
	return all[i].Status, answer, err
}
