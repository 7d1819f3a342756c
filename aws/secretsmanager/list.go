package secretsmanager

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"millrace/aws/door"
	"millrace/secure/secret"
)

// filter lets through what has one of its values; one with a ! before it lets through what has not.
type filter struct {
	Key    string   `json:"Key" aws:"enum=description|name|tag-key|tag-value|primary-region|owning-service|all"`
	Values []string `json:"Values" aws:"min=1,max=10"`
}

// listSecrets is ListSecrets.
func (s *Service) listSecrets(ctx context.Context, c *door.Call) (any, error) {
	in, err := decode[struct {
		pageOf
		Planned bool     `json:"IncludePlannedDeletion"`
		Filters []filter `json:"Filters" aws:"max=10"`
		Order   string   `json:"SortOrder" aws:"enum=asc|desc"`
		By      string   `json:"SortBy" aws:"enum=created-date|last-accessed-date|last-changed-date|name"`
	}](c)
	if err != nil {
		return nil, err
	}
	all, err := s.secrets.List(ctx)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(x secret.Secret) bool {
		return !in.Planned && !x.Deleted.IsZero() || slices.ContainsFunc(in.Filters, func(f filter) bool { return !f.passes(x) })
	})
	// Secrets are told by when they were made, the newest first, unless asked otherwise.
	key := func(x secret.Secret) string { return sortKey(x, in.By, in.Order != "asc") }
	part, next, err := page(c, all, key, in.pageOf)
	if err != nil {
		return nil, err
	}
	list := make([]entry, 0, len(part))
	for _, x := range part {
		e, stages := s.entryOf(x)
		e.ListStages = stages
		list = append(list, e)
	}
	return struct {
		List []entry `json:"SecretList"`
		Next string  `json:"NextToken,omitempty"`
	}{list, next}, nil
}

// page is a part of a list; a token that is none of ours has a code of its own.
func page[T any](c *door.Call, all []T, key func(T) string, p pageOf) ([]T, string, error) {
	part, next, err := door.PageOf(c, all, key, p.most(), p.Token)
	if err != nil {
		err = door.Fail(http.StatusBadRequest, "InvalidNextTokenException", "", "The NextToken value is invalid.")
	}
	return part, next, err
}

// sortKey orders secrets as text.
func sortKey(x secret.Secret, by string, down bool) string {
	key := []byte(x.Name)
	if by != "name" {
		at := x.Created
		if by == "last-changed-date" {
			at = x.Changed
		}
		key = fmt.Appendf(nil, "%020d %s", at.UnixNano()/int64(time.Millisecond), x.Name)
	}
	if !down {
		return string(key)
	}
	for i := range key {
		key[i] = ^key[i]
	}
	return fmt.Sprintf("%x", append(key, 0xff)) // the longer of two that begin alike comes first
}

// passes says whether a filter lets a secret through. Values of names and tags are beginnings, with case; those of descriptions and of all
// are beginnings of words, without.
func (f filter) passes(x secret.Secret) bool {
	var texts []string
	if f.Key == "name" || f.Key == "all" {
		texts = append(texts, x.Name)
	}
	for k, v := range x.Tags {
		if f.Key == "tag-key" || f.Key == "all" {
			texts = append(texts, k)
		}
		if f.Key == "tag-value" || f.Key == "all" {
			texts = append(texts, v)
		}
	}
	if f.Key == "description" || f.Key == "all" {
		texts = append(texts, x.Description)
	}
	words := f.Key == "description" || f.Key == "all"
	return slices.ContainsFunc(f.Values, func(value string) bool {
		value, not := strings.CutPrefix(value, "!")
		return slices.ContainsFunc(texts, func(text string) bool { return begins(text, value, words) }) != not
	})
}

func begins(text, value string, words bool) bool {
	if !words {
		return strings.HasPrefix(text, value)
	}
	text, value = strings.ToLower(text), strings.ToLower(value)
	if strings.HasPrefix(text, value) {
		return true
	}
	split := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	return slices.ContainsFunc(strings.FieldsFunc(text, split), func(w string) bool { return strings.HasPrefix(w, value) })
}
