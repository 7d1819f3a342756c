package door

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"

	"millrace/base/kv"
	"millrace/cmd/api"
	"millrace/control"
	"millrace/secure/identity"
	"millrace/secure/login"
	"millrace/secure/trail"
)

// Errors of requests to the API that asks who comes.
var (
	errNotIAM     = errors.New("only an access key may use the API")
	errNotAllowed = errors.New("the key may not do this")
)

// callerKey is where the context of a request has who signed it.
type callerKey struct{}

// CallerOf is who signed the request of a context; nil: nobody was asked.
func CallerOf(ctx context.Context) *identity.Identity {
	who, _ := ctx.Value(callerKey{}).(*identity.Identity)
	return who
}

// Signed lets nobody through to the API but who signed the request with a key that may do what it asks for. Health is for all; what lies
// below /millrace/v1/security/ asks by itself what its caller may do, but for certificates.
func (g *Guard) Signed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
			next.ServeHTTP(w, r)
			return
		}
		who, err := g.Requests.Verify(r)
		if err != nil {
			g.refuse(w, http.StatusForbidden, "the request is not signed by an access key of this installation, for this region and at about this time")
			g.Log.Debug("request refused", "path", r.URL.Path, "err", err)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), callerKey{}, &who))
		if asksItself(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		action, err := actionOf(r)
		if err == nil {
			err = g.permit(r, &who, action)
		}
		switch {
		case errors.Is(err, login.ErrBody):
			g.refuse(w, http.StatusBadRequest, err.Error())
		case err != nil:
			g.refuse(w, http.StatusForbidden, fmt.Sprintf("%s is not allowed to perform %s", strings.TrimPrefix(who.Principal, "User:"), action))
		default:
			answer := &watched{ResponseWriter: w, status: http.StatusOK}
			next.ServeHTTP(answer, r)
			if !recordsItself(r.URL.Path) {
				g.recordAdmin(r, &who, action, answer.status)
			}
		}
	})
}

// asksItself says that what lies at a path decides by itself what its caller may do.
func asksItself(path string) bool {
	return strings.HasPrefix(path, api.Security+"/") && !strings.HasPrefix(path, api.Certificates) && !strings.HasPrefix(path, api.Groups) && path != api.Compliance
}

// recordsItself says that what lies at a path tells the trail by itself, with what was before and after.
func recordsItself(path string) bool {
	return strings.HasPrefix(path, api.Certificates) || strings.HasPrefix(path, api.Groups) || strings.Contains(path, "/network/")
}

func (g *Guard) refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text}) // the client is gone where this fails
}

// permit says why who signed a request may not do what it asks for, and records that.
func (g *Guard) permit(r *http.Request, who *identity.Identity, action string) error {
	if who.IAM == nil {
		return errNotIAM
	}
	name, _ := clusterOf(r.URL.Path)
	arn := g.clusterARN(r.Context(), name)
	from := hostOf(r)
	allowed, why := g.View.Allowed(who.IAM, action, arn, from, r.TLS != nil)
	if allowed {
		return nil
	}
	g.Trail.Record(trail.Event{
		Kind: trail.Refusal, Action: action, Outcome: trail.Refused, Principal: who.Principal, Mechanism: string(who.Mechanism),
		AccessKey: who.IAM.AccessKey, From: from.String(), Listener: "API", Cluster: name, Resource: arn, Reason: why,
	})
	return fmt.Errorf("%w: %s", errNotAllowed, why)
}

// recordAdmin tells the trail of what may have changed something.
func (g *Guard) recordAdmin(r *http.Request, who *identity.Identity, action string, status int) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return
	}
	outcome := trail.Accepted
	if status >= http.StatusBadRequest {
		outcome = trail.Failed
	}
	name, _ := clusterOf(r.URL.Path)
	g.Trail.Record(trail.Event{
		Kind: trail.Admin, Action: action, Outcome: outcome, Principal: who.Principal, Mechanism: string(who.Mechanism),
		AccessKey: who.IAM.AccessKey, From: hostOf(r).String(), Listener: "API", Cluster: name, Resource: r.URL.Path,
	})
}

// Record tells the trail what a request has changed, with who asked.
func (g *Guard) Record(r *http.Request, e trail.Event) {
	e.From, e.Listener = hostOf(r).String(), "API"
	if who := CallerOf(r.Context()); who != nil {
		e.Principal, e.Mechanism = who.Principal, string(who.Mechanism)
		if who.IAM != nil {
			e.AccessKey = who.IAM.AccessKey
		}
	}
	g.Trail.Record(e)
}

// watched remembers the status of an answer.
type watched struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *watched) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func hostOf(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

// clusterOf is the cluster that a path is about, the default one where it names none, and what of the path follows its name.
func clusterOf(path string) (name, rest string) {
	rest = strings.TrimPrefix(path, api.Root+"/")
	if below, ok := strings.CutPrefix(rest, "clusters/"); ok {
		name, rest, _ = strings.Cut(below, "/")
		return name, rest
	}
	return api.DefaultCluster, rest
}

// clusterARN is that of a cluster. Before its first broker has made its id it ends with a dash.
func (g *Guard) clusterARN(ctx context.Context, name string) string {
	id := "-"
	item, err := g.Store.Get(ctx, control.Prefix(name)+"catalog/cluster")
	var record struct {
		ID string `json:"id"`
	}
	if err == nil && json.Unmarshal(item.Value, &record) == nil && record.ID != "" {
		id = record.ID
	} else if err != nil && !errors.Is(err, kv.ErrNotFound) {
		g.Log.Warn("cluster's id could not be read", "err", err)
	}
	return fmt.Sprintf("arn:aws:kafka:%s:%s:cluster/%s/%s", g.Region, g.View.Account(), name, id)
}

// operationMost bounds what is looked into of a request that begins an operation, in bytes.
const operationMost = 64 << 10

// actionOf names what a request asks for: as AWS names it for MSK where that has such a thing.
func actionOf(r *http.Request) (string, error) {
	_, path := clusterOf(r.URL.Path)
	room, _, _ := strings.Cut(path, "/")
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case room == "operations" && reads:
		return "kafka:ListClusterOperations", nil
	case room == "operations":
		return operationOf(r)
	case room == "usage" && reads:
		return "millrace:DescribeUsage", nil
	case room == "hosts" && reads:
		return "kafka:ListNodes", nil
	case (room == "network" || strings.HasPrefix(r.URL.Path, api.Groups)) && reads:
		return "millrace:DescribeNetwork", nil
	case room == "network" || strings.HasPrefix(r.URL.Path, api.Groups):
		return "millrace:UpdateNetwork", nil
	case r.URL.Path == api.Compliance:
		return "millrace:ReportCompliance", nil
	case strings.HasPrefix(r.URL.Path, api.Certificates) && reads:
		return "millrace:ListCertificates", nil
	case strings.HasPrefix(r.URL.Path, api.Certificates):
		return "millrace:ManageCertificates", nil
	case room == "backup":
		return "millrace:BackupCluster", nil
	case reads:
		return "kafka:DescribeCluster", nil
	}
	return "millrace:UpdateCluster", nil
}

func operationOf(r *http.Request) (string, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, operationMost+1))
	if err != nil || len(body) > operationMost {
		return "", fmt.Errorf("%w: at most %d bytes", login.ErrBody, operationMost)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var asked control.Request
	if err := json.Unmarshal(body, &asked); err != nil {
		return "", fmt.Errorf("%w: %w", login.ErrBody, err)
	}
	switch asked.Kind {
	case control.Scale:
		return "kafka:UpdateBrokerCount", nil
	case control.Roll:
		return "kafka:RebootBroker", nil
	case control.Upgrade:
		return "kafka:UpdateClusterKafkaVersion", nil
	case control.Logins:
		return "kafka:UpdateSecurity", nil
	}
	return "millrace:UpdateCluster", nil
}
