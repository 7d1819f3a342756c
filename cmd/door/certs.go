package door

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"millrace/cmd/api"
	"millrace/secure/cert"
	"millrace/secure/trail"
)

// HandleCerts is the part of the API about certificates. Who may ask is decided before: by handle, or by what stands around the API.
// record takes what was changed, and adds who has asked.
func HandleCerts(handle Handle, ca *cert.Authority, record func(*http.Request, trail.Event)) {
	change := func(r *http.Request, action, resource string, after any, err error) {
		e := trail.Event{Kind: trail.Admin, Action: "cert:" + action, Outcome: trail.Accepted, Resource: resource}
		if err != nil {
			e.Outcome, e.Reason = trail.Failed, err.Error()
		} else if after != nil {
			e.After, _ = json.Marshal(after) // plain data
		}
		record(r, e)
	}
	certs := func(pattern string, h func(*http.Request) (any, error)) {
		handle(pattern, func(r *http.Request) (int, any, error) {
			answer, err := h(r)
			if status := certStatus(err); status != 0 {
				return status, map[string]string{"error": err.Error()}, nil
			}
			return http.StatusOK, answer, err
		})
	}
	certs("GET "+api.Certificates, func(r *http.Request) (any, error) {
		all, err := ca.Certificates(r.Context())
		return map[string]any{"certificates": all}, err
	})
	certs("GET "+api.Certificates+"/ca", func(*http.Request) (any, error) { return ca.CA(), nil })
	certs("POST "+api.Certificates, func(r *http.Request) (any, error) {
		var ask cert.ClientRequest
		if err := readCertRequest(r, &ask); err != nil {
			return nil, err
		}
		issued, err := ca.IssueClient(r.Context(), ask)
		change(r, "IssueClient", "certificate/"+issued.Serial, issued.Certificate, err)
		return issued, err
	})
	certs("POST "+api.Certificates+"/revoke", func(r *http.Request) (any, error) {
		var ask cert.RevokeRequest
		if err := readCertRequest(r, &ask); err != nil {
			return nil, err
		}
		revoked, err := ca.Revoke(r.Context(), ask)
		change(r, "Revoke", "certificate/"+ask.Serial+ask.Name, revoked, err)
		return map[string]any{"certificates": revoked}, err
	})
	certs("GET "+api.Certificates+"/gateways", func(r *http.Request) (any, error) {
		all, err := ca.Gateways(r.Context())
		return api.Gateways{Gateways: all}, err
	})
	certs("POST "+api.Certificates+"/gateways", func(r *http.Request) (any, error) {
		var ask cert.Registration
		if err := readCertRequest(r, &ask); err != nil {
			return nil, err
		}
		made, err := ca.RegisterGateway(r.Context(), ask)
		change(r, "RegisterGateway", "gateway/"+ask.Name, made, err)
		return made, err
	})
	certs("DELETE "+api.Certificates+"/gateways/{name}", func(r *http.Request) (any, error) {
		revoked, err := ca.RemoveGateway(r.Context(), r.PathValue("name"))
		change(r, "RemoveGateway", "gateway/"+r.PathValue("name"), revoked, err)
		return map[string]any{"certificates": revoked}, err
	})
	certs("POST "+api.Certificates+"/ca/replace", func(r *http.Request) (any, error) {
		err := ca.Replace(r.Context())
		change(r, "ReplaceAuthority", "certificate-authority/"+ca.CA().Fingerprint, nil, err)
		return ca.CA(), err
	})
	certs("POST "+api.Certificates+"/ca/distrust", func(r *http.Request) (any, error) {
		var ask api.Distrust
		if err := readCertRequest(r, &ask); err != nil {
			return nil, err
		}
		err := ca.Distrust(r.Context(), ask.Fingerprint)
		change(r, "DistrustAuthority", "certificate-authority/"+ask.Fingerprint, nil, err)
		return ca.CA(), err
	})
}

func readCertRequest(r *http.Request, v any) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", cert.ErrRequest, err)
	}
	return nil
}

// certStatus is 0 where it is not for this part of the API to say.
func certStatus(err error) int {
	switch {
	case errors.Is(err, cert.ErrUnknown):
		return http.StatusNotFound
	case errors.Is(err, cert.ErrRequest), errors.Is(err, cert.ErrGiven):
		return http.StatusBadRequest
	case errors.Is(err, cert.ErrSealed):
		return http.StatusServiceUnavailable
	}
	return 0
}
