package door

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestPages: while things come and go between two pages, all that is there the whole time is told once, in order (DO6).
func TestPages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfDistinct(rapid.StringMatching(`[a-z0-9/]{1,4}`), func(s string) string { return s })
		stay := names.Draw(t, "stay")
		there := map[string]bool{}
		for _, s := range stay {
			there[s] = true
		}
		var told []string
		token := ""
		for range 1000 {
			c := &Call{Query: url.Values{"maxResults": {rapid.SampledFrom([]string{"1", "2", "3", "100"}).Draw(t, "most")}, "nextToken": {token}}, operation: &Operation{Name: "List"}}
			all := slices.Collect(maps.Keys(there))
			page, next, err := Page(c, all, func(s string) string { return s })
			if err != nil {
				t.Fatal(err)
			}
			told = append(told, page...)
			if token = next; next == "" {
				break
			}
			for _, s := range names.Draw(t, "change") {
				if !slices.Contains(stay, s) {
					there[s] = !there[s]
					if !there[s] {
						delete(there, s)
					}
				}
			}
		}
		slices.Sort(stay)
		kept := slices.DeleteFunc(slices.Clone(told), func(s string) bool { return !slices.Contains(stay, s) })
		if token != "" || !slices.Equal(kept, stay) || !slices.IsSorted(told) || len(slices.Compact(slices.Clone(told))) != len(told) {
			t.Fatalf("told %q, there were %q all the time", told, stay)
		}
	})
}

func TestPagesRefused(t *testing.T) {
	all := []string{"a", "b", "c"}
	page := func(o, arn string, query url.Values) (string, error) {
		_, next, err := Page(&Call{Query: query, Params: map[string]string{"arn": arn}, operation: &Operation{Name: o}}, all, func(s string) string { return s })
		return next, err
	}
	token, err := page("List", "x", url.Values{"maxResults": {"1"}, "filter": {"f"}})
	if err != nil || token == "" {
		t.Fatal(token, err)
	}
	if _, err := page("List", "x", url.Values{"maxResults": {"2"}, "filter": {"f"}, "nextToken": {token}}); err != nil {
		t.Errorf("the same list: %v", err)
	}
	for name, f := range map[string]struct {
		operation, arn, param string
		query                 url.Values
	}{
		"another list":     {"Other", "x", "nextToken", url.Values{"filter": {"f"}, "nextToken": {token}}},
		"another resource": {"List", "y", "nextToken", url.Values{"filter": {"f"}, "nextToken": {token}}},
		"another filter":   {"List", "x", "nextToken", url.Values{"filter": {"g"}, "nextToken": {token}}},
		"no token of ours": {"List", "x", "nextToken", url.Values{"nextToken": {"x"}}},
		"no base64":        {"List", "x", "nextToken", url.Values{"nextToken": {"%"}}},
		"none":             {"List", "x", "maxResults", url.Values{"maxResults": {"0"}}},
		"too many":         {"List", "x", "maxResults", url.Values{"maxResults": {"101"}}},
		"not a number":     {"List", "x", "maxResults", url.Values{"maxResults": {"ten"}}},
	} {
		_, err := page(f.operation, f.arn, f.query)
		var e *Error
		if !errors.As(err, &e) || e.InvalidParameter != f.param || e.Status != 400 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzPage(f *testing.F) {
	f.Add("eyJvIjoiIiwiayI6ImEifQ", "3")
	f.Fuzz(func(t *testing.T, token, most string) {
		c := &Call{Query: url.Values{"nextToken": {token}, "maxResults": {most}}, operation: &Operation{Name: "List"}}
		_, _, err := Page(c, []string{"a", "b"}, func(s string) string { return s })
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatal(err)
		}
	})
}
