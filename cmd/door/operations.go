package door

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"

	"millrace/base/clock"
	"millrace/cmd/api"
	"millrace/control"
	"millrace/express/backup"
)

// requestMost bounds the body of a request to the API, in bytes.
const requestMost = 16 << 10

// Routes adds the API below /millrace/v1/ by which the verbs reach the control
// plane: JSON in and out, faults as {"error": "..."}. Without logins it
// answers nobody but this host, and no web page (docs/decisions/0012).
func (i *Installation) Routes(mux *http.ServeMux) {
	handle := func(pattern string, h func(r *http.Request) (int, any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			status, answer, err := http.StatusForbidden, any(nil), fromHere(r)
			if err == nil {
				r.Body = http.MaxBytesReader(w, r.Body, requestMost)
				if status, answer, err = h(r); err != nil {
					status = statusOf(err)
				}
			}
			if err != nil {
				answer = map[string]string{"error": err.Error()}
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(answer) // the client is gone where this fails
		})
	}
	handle("GET "+api.Root+"/clusters/{cluster}", func(r *http.Request) (int, any, error) {
		c, err := i.Plane.Cluster(r.Context(), r.PathValue("cluster"))
		if err != nil {
			return 0, nil, err
		}
		nodes, err := i.Plane.Nodes(r.Context(), c.Name)
		return http.StatusOK, map[string]any{"cluster": c, "nodes": nodes}, err
	})
	handle("GET "+api.Root+"/clusters/{cluster}/hosts", func(r *http.Request) (int, any, error) {
		c, err := i.Plane.Cluster(r.Context(), r.PathValue("cluster"))
		if err != nil {
			return 0, nil, err
		}
		states, err := i.Plane.HostStates(r.Context(), c.Name)
		return http.StatusOK, map[string]any{"hosts": states}, err
	})
	i.handleAudits(handle)
	i.handleNetwork(handle)
	i.handleCompliance(handle)
	i.handleUsage(handle)
	i.handleDrift(handle)
	if g := i.Guard; g != nil {
		HandleCerts(handle, g.CA, g.Record)
		i.principals().Routes(mux.HandleFunc)
	}
	i.handleBackup(mux)
	handle("GET "+api.Root+"/clusters/{cluster}/operations", func(r *http.Request) (int, any, error) {
		all, err := i.Plane.OperationsOf(r.Context(), r.PathValue("cluster"))
		return http.StatusOK, map[string]any{"operations": all}, err
	})
	handle("GET "+api.Root+"/clusters/{cluster}/operations/{number}", func(r *http.Request) (int, any, error) {
		number, err := strconv.ParseInt(r.PathValue("number"), 10, 64)
		if err != nil {
			return 0, nil, fmt.Errorf("%w: %q", control.ErrNoOperation, r.PathValue("number"))
		}
		op, err := i.Plane.Operation(r.Context(), r.PathValue("cluster"), number)
		return http.StatusOK, op, err
	})
	handle("POST "+api.Root+"/clusters/{cluster}/operations", func(r *http.Request) (int, any, error) {
		var request control.Request
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&request); err != nil {
			return 0, nil, fmt.Errorf("%w: request: %w", control.ErrSpec, err)
		}
		op, err := i.Begin(r.Context(), r.PathValue("cluster"), request)
		return http.StatusAccepted, op, err
	})
}

// errForbidden: the request may not come from where it comes.
var errForbidden = errors.New("not allowed")

// fromHere refuses other hosts, and web pages in a browser of this one: a page
// can make the browser send, but not with this content type or from our name.
func fromHere(r *http.Request) error {
	if CallerOf(r.Context()) != nil {
		return nil // no web page can sign, and who may do what was asked before
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || !api.Loopback(host) {
		return fmt.Errorf("%w: this part of the API answers only this host", errForbidden)
	}
	name := r.Host
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	if !api.Loopback(strings.Trim(name, "[]")) || r.Header.Get("Origin") != "" {
		return fmt.Errorf("%w: this part of the API is not for web pages", errForbidden)
	}
	if r.Method != http.MethodGet {
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			return fmt.Errorf("%w: send application/json", errForbidden)
		}
	}
	return nil
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, errForbidden):
		return http.StatusForbidden
	case errors.Is(err, control.ErrNoCluster), errors.Is(err, control.ErrNoOperation):
		return http.StatusNotFound
	case errors.Is(err, control.ErrBusy), errors.Is(err, control.ErrLost):
		return http.StatusConflict
	case errors.Is(err, control.ErrSpec):
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// handleBackup lets this host fetch a backup.
func (i *Installation) handleBackup(mux *http.ServeMux) {
	mux.HandleFunc("GET "+api.Root+"/backup", func(w http.ResponseWriter, r *http.Request) {
		if err := fromHere(r); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		b, err := backup.Take(r.Context(), i.Store, clock.System{}.Now())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		_ = b.Write(w) // the client finds the end missing where this fails
	})
}
