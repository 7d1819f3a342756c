package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"millrace/base/proc"
	"millrace/control"
)

// requestMost bounds the body of a request to the API, in bytes.
const requestMost = 16 << 10

// handleOperations is the API below /v1/ by which the verbs reach the control
// plane: JSON in and out, faults as {"error": "..."}. It has no login yet, so it
// answers nobody but this host, and no web page (docs/decisions/0012).
func handleOperations(mux *http.ServeMux, i *installation) {
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
	handle("GET /v1/clusters/{cluster}", func(r *http.Request) (int, any, error) {
		c, err := i.plane.Cluster(r.Context(), r.PathValue("cluster"))
		if err != nil {
			return 0, nil, err
		}
		nodes, err := i.plane.Nodes(r.Context(), c.Name)
		return http.StatusOK, map[string]any{"cluster": c, "nodes": nodes}, err
	})
	handle("GET /v1/clusters/{cluster}/hosts", func(r *http.Request) (int, any, error) {
		c, err := i.plane.Cluster(r.Context(), r.PathValue("cluster"))
		if err != nil {
			return 0, nil, err
		}
		states, err := i.plane.HostStates(r.Context(), c.Name)
		return http.StatusOK, map[string]any{"hosts": states}, err
	})
	handleAudits(handle, i)
	handle("GET /v1/clusters/{cluster}/operations", func(r *http.Request) (int, any, error) {
		all, err := i.plane.OperationsOf(r.Context(), r.PathValue("cluster"))
		return http.StatusOK, map[string]any{"operations": all}, err
	})
	handle("GET /v1/clusters/{cluster}/operations/{number}", func(r *http.Request) (int, any, error) {
		number, err := strconv.ParseInt(r.PathValue("number"), 10, 64)
		if err != nil {
			return 0, nil, fmt.Errorf("%w: %q", control.ErrNoOperation, r.PathValue("number"))
		}
		op, err := i.plane.Operation(r.Context(), r.PathValue("cluster"), number)
		return http.StatusOK, op, err
	})
	handle("POST /v1/clusters/{cluster}/operations", func(r *http.Request) (int, any, error) {
		var request control.Request
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&request); err != nil {
			return 0, nil, fmt.Errorf("%w: request: %w", control.ErrSpec, err)
		}
		op, err := i.begin(r.Context(), r.PathValue("cluster"), request)
		return http.StatusAccepted, op, err
	})
}

// errForbidden: the request may not come from where it comes.
var errForbidden = errors.New("not allowed")

// fromHere refuses other hosts, and web pages in a browser of this one: a page
// can make the browser send, but not with this content type or from our name.
func fromHere(r *http.Request) error {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || !loopback(host) {
		return fmt.Errorf("%w: this part of the API answers only this host", errForbidden)
	}
	name := r.Host
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	if !loopback(strings.Trim(name, "[]")) || r.Header.Get("Origin") != "" {
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

// begin checks on this host what the control plane cannot, then begins.
func (i *installation) begin(ctx context.Context, cluster string, r control.Request) (control.Operation, error) {
	if r.Kind == control.Upgrade && r.Binary != "" {
		if err := checkProgram(ctx, r.Binary); err != nil {
			return control.Operation{}, fmt.Errorf("%w: program %s: %w", control.ErrSpec, r.Binary, err)
		}
	}
	if r.Kind == control.Scale {
		c, err := i.plane.Cluster(ctx, cluster)
		if err != nil {
			return control.Operation{}, err
		}
		c.Brokers = r.Brokers
		if err := i.cfg.collision(c); err != nil {
			return control.Operation{}, fmt.Errorf("%w: %w", control.ErrSpec, err)
		}
		taken, err := i.portsTaken(ctx, c)
		if err != nil {
			return control.Operation{}, err
		}
		if len(taken) > 0 {
			return control.Operation{}, fmt.Errorf("%w: %w", control.ErrSpec, errors.Join(taken...))
		}
	}
	return i.plane.Begin(ctx, cluster, r)
}

// checkProgram refuses what is not a millrace program that only we, or root,
// could have put there: who reaches the API must not be able to run what is theirs.
func checkProgram(ctx context.Context, path string) error {
	const groupOrOthersWrite = 0o022
	if !filepath.IsAbs(path) {
		return errors.New("give an absolute path")
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o100 == 0:
		return errors.New("not a program")
	case !ok || int(stat.Uid) != os.Getuid() && stat.Uid != 0, info.Mode().Perm()&groupOrOthersWrite != 0:
		return errors.New("it must belong to the user that runs `millrace serve` and `millrace agent`, or to root, and nobody else may be able to write it")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	said := make(chan string, 64)
	p, err := proc.Start(ctx, proc.Spec{Path: path, Args: []string{"version"}, Output: func(line []byte) {
		select {
		case said <- string(line):
		default:
		}
	}})
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		return errors.Join(errors.New("it does not say its version"), p.Stop(context.WithoutCancel(ctx), 0))
	}
	select {
	case line := <-said:
		if p.Status().OK() && strings.HasPrefix(line, "millrace ") {
			return nil
		}
	default:
	}
	return errors.New("not a millrace program: `version` does not answer as one")
}
