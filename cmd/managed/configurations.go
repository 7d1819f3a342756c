package managed

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// ErrNoConfiguration: there is no configuration of the name that was given.
var ErrNoConfiguration = errors.New("no such configuration")

// Configurations lists all.
func (cl *Client) Configurations(ctx context.Context) ([]Configuration, error) {
	return all(ctx, configurations, nil, func(path string) ([]Configuration, string, error) {
		var answer struct {
			List []Configuration `json:"configurations"`
			Next string          `json:"nextToken"`
		}
		err := cl.do(ctx, http.MethodGet, path, nil, &answer)
		return answer.List, answer.Next, err
	})
}

// Revision finds a revision by NAME, which is the latest, by NAME:NUMBER or by the same with an ARN, or returns ErrNoConfiguration.
func (cl *Client) Revision(ctx context.Context, text string) (Revision, error) {
	name, number := text, int64(0)
	if at := strings.LastIndexByte(text, ':'); at >= 0 {
		if n, err := strconv.ParseInt(text[at+1:], 10, 64); err == nil && n > 0 {
			name, number = text[:at], n
		}
	}
	known, err := cl.Configurations(ctx)
	if err != nil {
		return Revision{}, err
	}
	for _, c := range known {
		if c.Name != name && c.ARN != name {
			continue
		}
		if number == 0 {
			number = c.Latest.Number
		}
		return Revision{c.ARN, number}, nil
	}
	return Revision{}, fmt.Errorf("%w: %s", ErrNoConfiguration, name)
}

// Properties returns what a revision says.
func (cl *Client) Properties(ctx context.Context, r Revision) ([]byte, error) {
	var answer struct {
		Properties []byte `json:"serverProperties"`
	}
	err := cl.do(ctx, http.MethodGet, of(configurations, r.ARN, "revisions", strconv.FormatInt(r.Number, 10)), nil, &answer)
	return answer.Properties, err
}

// CreateConfiguration makes a configuration, and returns its first revision.
func (cl *Client) CreateConfiguration(ctx context.Context, c Configuration) (Revision, error) {
	body := map[string]any{"name": c.Name, "serverProperties": c.Properties}
	if c.Description != "" {
		body["description"] = c.Description
	}
	if len(c.KafkaVersions) > 0 {
		body["kafkaVersions"] = c.KafkaVersions
	}
	var made Configuration
	err := cl.do(ctx, http.MethodPost, configurations, body, &made)
	return Revision{made.ARN, made.Latest.Number}, err
}

// Revise gives a configuration another revision, and returns it.
func (cl *Client) Revise(ctx context.Context, arn, description string, properties []byte) (Revision, error) {
	body := map[string]any{"serverProperties": properties}
	if description != "" {
		body["description"] = description
	}
	var made Configuration
	err := cl.do(ctx, http.MethodPut, of(configurations, arn), body, &made)
	return Revision{made.ARN, made.Latest.Number}, err
}

// DeleteConfiguration deletes a configuration with all its revisions.
func (cl *Client) DeleteConfiguration(ctx context.Context, arn string) error {
	return cl.do(ctx, http.MethodDelete, of(configurations, arn), nil, nil)
}
