package secretsmanager

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"millrace/secure/secret"
)

// tag is one tag, as this API has them.
type tag struct {
	Key   string `json:"Key" aws:"required,min=1,max=128"`
	Value string `json:"Value" aws:"max=256"`
}

func tagMap(list []tag) (map[string]string, error) {
	m := make(map[string]string, len(list))
	for _, t := range list {
		if _, twice := m[t.Key]; twice {
			return nil, invalidParameter("There is more than one tag with the same key.")
		}
		m[t.Key] = t.Value
	}
	return m, nil
}

func tagList(m map[string]string) []tag {
	list := make([]tag, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, tag{k, m[k]})
	}
	return list
}

// seconds is a time as JSON 1.1 has it; nil: none.
func seconds(t time.Time) *float64 {
	if t.IsZero() {
		return nil
	}
	s := float64(t.UnixMilli()) / float64(time.Second/time.Millisecond)
	return &s
}

// name is what most answers have.
type name struct {
	ARN  string `json:"ARN"`
	Name string `json:"Name"`
}

// entry is a secret in DescribeSecret and ListSecrets.
type entry struct {
	name
	Description string              `json:"Description,omitempty"`
	KMSKey      string              `json:"KmsKeyId,omitempty"`
	Changed     *float64            `json:"LastChangedDate,omitempty"`
	Deleted     *float64            `json:"DeletedDate,omitempty"`
	Tags        []tag               `json:"Tags,omitempty"`
	Stages      map[string][]string `json:"VersionIdsToStages,omitempty"`
	ListStages  map[string][]string `json:"SecretVersionsToStages,omitempty"` // the same in ListSecrets
	Created     *float64            `json:"CreatedDate,omitempty"`
}

// entryOf tells a secret; stages are those of versions that are not deprecated.
func (s *Service) entryOf(x secret.Secret) (e entry, stages map[string][]string) {
	stages = map[string][]string{}
	for _, v := range x.Versions {
		if len(v.Stages) > 0 {
			stages[v.ID] = v.Stages
		}
	}
	return entry{
		name: s.nameOf(x), Description: x.Description, KMSKey: x.KMSKey, Changed: seconds(x.Changed), Deleted: seconds(x.Deleted),
		Tags: tagList(x.Tags), Created: seconds(x.Created),
	}, stages
}

func (s *Service) nameOf(x secret.Secret) name { return name{s.home.Secret(x.Name, x.Tail), x.Name} }

// value is a secret value in a request.
type value struct {
	Binary []byte  `json:"SecretBinary" aws:"min=1,max=65536"`
	Text   *string `json:"SecretString" aws:"min=1,max=65536"`
	Token  string  `json:"ClientRequestToken" aws:"min=32,max=64"`
}

// read gives the value that was sent; nil: none.
func (v value) read() (*secret.Value, error) {
	switch {
	case v.Text != nil && v.Binary != nil:
		return nil, invalidParameter("You can't specify both a binary secret value and a string secret value in the same secret.")
	case v.Text != nil:
		return &secret.Value{Bytes: []byte(*v.Text)}, nil
	case v.Binary != nil:
		return &secret.Value{Binary: true, Bytes: v.Binary}, nil
	}
	return nil, nil
}

// pageOf is how much of a list is asked for.
type pageOf struct {
	Most  *int   `json:"MaxResults" aws:"min=1,max=100"`
	Token string `json:"NextToken" aws:"max=4096"`
}

const pageMost = 100

func (p pageOf) most() int {
	most := pageMost
	return *cmp.Or(p.Most, &most)
}
