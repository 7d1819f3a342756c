package keys

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	vault "github.com/hashicorp/vault/api"

	"millrace/base/disk"
)

const vaultScheme = "vault"

// vaultKMS is a key of Vault's transit engine.
type vaultKMS struct {
	name      string
	key       string
	mount     string
	client    *vault.Client
	fs        disk.FS
	tokenFile string // read before each call, because somebody renews it; "": the client's token
}

func openVault(place string, query url.Values, fs disk.FS) (KMS, error) {
	if err := only(query, "addr", "mount", "namespace", "token-file"); err != nil {
		return nil, err
	}
	if place == "" || strings.Contains(place, "/") {
		return nil, fmt.Errorf("%w: vault://%s; use vault:// and the name of a transit key", ErrBadURL, place)
	}
	cfg := vault.DefaultConfig()
	if cfg.Error != nil {
		return nil, fmt.Errorf("vault configuration: %w", cfg.Error)
	}
	if addr := query.Get("addr"); addr != "" {
		cfg.Address = addr
	}
	cfg.MaxRetries = 0 // who waits for a KMS does so here, and says so
	client, err := vault.NewClient(cfg)
	if err != nil {
		return nil, fmt.Errorf("vault client: %w", err)
	}
	if ns := query.Get("namespace"); ns != "" {
		client.SetNamespace(ns)
	}
	name := vaultScheme + "://" + place
	if len(query) > 0 {
		name += "?" + query.Encode()
	}
	mount := query.Get("mount")
	if mount == "" {
		mount = "transit"
	}
	return &vaultKMS{name: name, key: place, mount: mount, client: client, fs: fs, tokenFile: query.Get("token-file")}, nil
}

func (k *vaultKMS) Name() string { return k.name }

// Format hides the client, which has a token.
func (k *vaultKMS) Format(s fmt.State, _ rune) { _, _ = fmt.Fprint(s, k.name) }

func (k *vaultKMS) Wrap(ctx context.Context, plain, context []byte) ([]byte, error) {
	text, err := k.ask(ctx, "encrypt", "ciphertext", map[string]any{
		"plaintext": base64.StdEncoding.EncodeToString(plain), "associated_data": base64.StdEncoding.EncodeToString(context),
	})
	return []byte(text), err
}

func (k *vaultKMS) Unwrap(ctx context.Context, wrapped, context []byte) ([]byte, error) {
	text, err := k.ask(ctx, "decrypt", "plaintext", map[string]any{
		"ciphertext": string(wrapped), "associated_data": base64.StdEncoding.EncodeToString(context),
	})
	if err != nil {
		return nil, err
	}
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: the answer is not base64", ErrUnavailable, k.name)
	}
	return plain, nil
}

// ask calls the transit engine and returns one field of the answer.
func (k *vaultKMS) ask(ctx context.Context, verb, field string, body map[string]any) (string, error) {
	client := k.client
	if k.tokenFile != "" {
		token, err := k.fs.ReadFile(k.tokenFile)
		if err != nil {
			return "", fmt.Errorf("%w: %s: token: %w", ErrUnavailable, k.name, err)
		}
		if client, err = client.Clone(); err != nil { // the token of a client is its state, and calls run at the same time
			return "", fmt.Errorf("%s: %w", k.name, err)
		}
		client.SetToken(strings.TrimSpace(string(token)))
	}
	secret, err := client.Logical().WriteWithContext(ctx, k.mount+"/"+verb+"/"+k.key, body)
	if err != nil {
		return "", k.explain(err)
	}
	if secret != nil {
		if text, ok := secret.Data[field].(string); ok {
			return text, nil
		}
	}
	return "", fmt.Errorf("%w: %s: the answer has no %s", ErrUnavailable, k.name, field)
}

// explain tells an answer that says no from one that says not now, and from none.
func (k *vaultKMS) explain(err error) error {
	var answer *vault.ResponseError
	// 412 and 472 to 473 are replicas that cannot answer yet; refuses does not count on the latter.
	if errors.As(err, &answer) && refuses(answer.StatusCode) && answer.StatusCode != http.StatusPreconditionFailed && answer.StatusCode < 460 {
		return fmt.Errorf("%w: %s: %w", ErrWrongKMS, k.name, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, k.name, err)
}
