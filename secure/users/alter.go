package users

import (
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/secure/identity"
	"millrace/secure/scram"
)

// Result is what became of one user.
type Result struct {
	User string
	Code kerr.Code
	Err  error // nil: done
	Told *Told // what was to be changed; nil: it was refused before that was clear
}

// Told is what a trail may be told of a change: nothing of what a login could be made of.
type Told struct {
	Mechanism  identity.Mechanism `json:"mechanism"`
	Iterations int                `json:"iterations,omitempty"`
	Deleted    bool               `json:"deleted,omitempty"`
}

// Alter makes the changes of AlterUserScramCredentials and returns a Result for each user, in their order. A refusal that is not nil
// refuses them all; so does a store that is nil, with UNSUPPORTED_VERSION.
func Alter(ctx context.Context, store *scram.Store, req *kmsg.AlterUserSCRAMCredentialsRequest, refused error) []*Result {
	results, changes := read(store, req)
	if refused == nil && store == nil {
		refused = say(kerr.UnsupportedVersion, "SCRAM is not enabled on this cluster")
	}
	if refused == nil {
		apply(ctx, store, changes)
	}
	for _, r := range results {
		if refused != nil {
			r.Err = refused
		}
		if r.Err != nil {
			r.Code = codeOf(r.Err)
		}
	}
	return results
}

// Response is the answer that tells Results.
func Response(results []*Result) *kmsg.AlterUserSCRAMCredentialsResponse {
	resp := kmsg.NewPtrAlterUserSCRAMCredentialsResponse()
	for _, r := range results {
		out := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
		out.User = r.User
		if r.Err != nil {
			out.ErrorCode, out.ErrorMessage = int16(r.Code), kmsg.StringPtr(r.Err.Error())
		}
		resp.Results = append(resp.Results, out)
	}
	return resp
}

// wanted is what is wanted of a user.
type wanted struct {
	of *Result
	scram.Change
}

// reader takes a request apart in Kafka's order, deletions first: who is named again after a fault keeps that fault.
type reader struct {
	results []*Result
	wanted  []wanted
	seen    map[string]*Result
}

func read(store *scram.Store, req *kmsg.AlterUserSCRAMCredentialsRequest) ([]*Result, []wanted) {
	r := reader{seen: make(map[string]*Result)}
	for _, d := range req.Deletions {
		r.add(d.Name, d.Mechanism, func(m identity.Mechanism) (scram.Change, error) {
			if store != nil && !slices.ContainsFunc(store.Describe(d.Name), func(i scram.Info) bool { return i.Mechanism == m }) {
				return scram.Change{}, errMissing()
			}
			return scram.Change{Mechanism: m, Delete: true}, nil
		})
	}
	for _, p := range req.Upsertions {
		r.add(p.Name, p.Mechanism, func(m identity.Mechanism) (scram.Change, error) {
			credential, err := scram.FromSalted(m, p.SaltedPassword, p.Salt, int(p.Iterations))
			return scram.Change{Mechanism: m, Credential: credential}, err
		})
	}
	return r.results, r.wanted
}

func errMissing() error {
	return say(kerr.ResourceNotFound, "Attempt to delete a user credential that does not exist")
}

// add notes what is wanted of a user, or why it cannot be.
func (r *reader) add(name string, number int8, change func(identity.Mechanism) (scram.Change, error)) {
	if one, again := r.seen[name]; again {
		if one.Err == nil {
			one.Err = say(kerr.DuplicateResource, "A user credential cannot be altered twice in the same request")
		}
		return
	}
	one := &Result{User: name}
	r.seen[name] = one
	r.results = append(r.results, one)
	if one.Err = scram.CheckUser(name); one.Err != nil {
		return
	}
	for m, n := range numbers() {
		if n != number {
			continue
		}
		var c scram.Change
		if c, one.Err = change(m); one.Err == nil {
			c.User = name
			one.Told = &Told{m, c.Credential.Iterations, c.Delete}
			r.wanted = append(r.wanted, wanted{one, c})
		}
		return
	}
	one.Err = say(kerr.UnsupportedSaslMechanism, "Unknown SCRAM mechanism")
}

// apply makes the changes that have no fault so far.
func apply(ctx context.Context, store *scram.Store, all []wanted) {
	all = slices.DeleteFunc(all, func(w wanted) bool { return w.of.Err != nil })
	changes := make([]scram.Change, len(all))
	for i, w := range all {
		changes[i] = w.Change
	}
	for i, err := range store.Alter(ctx, changes) {
		if errors.Is(err, scram.ErrNotFound) {
			err = errMissing() // somebody else was quicker
		}
		all[i].of.Err = err
	}
}
