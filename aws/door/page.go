package door

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// pageMost is the most that a page has, and what it has where nobody asked.
const pageMost = 100

// Page returns the part of all that a request asks for by maxResults and nextToken in its query, in the order of key, and the token of what
// follows; "": nothing does. key tells elements apart and does not change. The error is an *Error.
func Page[T any](c *Call, all []T, key func(T) string) (page []T, next string, err error) {
	most := pageMost
	if text := c.Query.Get("maxResults"); text != "" {
		most, err = strconv.Atoi(text)
		if err != nil || most < 1 || most > pageMost {
			return nil, "", BadRequest("maxResults", "The value of maxResults is out of range: it must be between 1 and %d.", pageMost)
		}
	}
	return PageOf(c, all, key, most, c.Query.Get("nextToken"))
}

// place is where a page ends, as its token says it.
type place struct {
	Of  string `json:"o"` // what the list is of
	Key string `json:"k"` // of the last element
}

// PageOf is Page for a service that has the most of a page and the token elsewhere.
func PageOf[T any](c *Call, all []T, key func(T) string, most int, token string) (page []T, next string, err error) {
	of := listOf(c)
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b T) int { return strings.Compare(key(a), key(b)) })
	from := 0
	if token != "" {
		var at place
		text, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || json.Unmarshal(text, &at) != nil || at.Of != of {
			return nil, "", BadRequest("nextToken", "The specified nextToken is not valid for this request.")
		}
		for from < len(all) && key(all[from]) <= at.Key {
			from++
		}
	}
	page = all[from:]
	if len(page) <= most {
		return page, "", nil
	}
	page = page[:most]
	text, err := json.Marshal(place{of, key(page[most-1])})
	return page, base64.RawURLEncoding.EncodeToString(text), err
}

// listOf tells the list that a request is about from others: a token of one is no good for another.
func listOf(c *Call) string {
	var b strings.Builder
	if c.operation != nil {
		b.WriteString(c.operation.Name)
	}
	for _, in := range []map[string][]string{c.Query, single(c.Params)} {
		names := make([]string, 0, len(in))
		for name := range in {
			if name != "maxResults" && name != "nextToken" {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			b.WriteString("\x00" + name + "\x00" + strings.Join(in[name], "\x00"))
		}
	}
	sum := sha256.Sum256([]byte(b.String()))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

func single(in map[string]string) map[string][]string {
	out := make(map[string][]string, len(in))
	for k, v := range in {
		out[k] = []string{v}
	}
	return out
}
