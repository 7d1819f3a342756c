package breadth

import (
	"strings"
	"testing"
)

func TestGrants(t *testing.T) {
	for state, want := range map[string]int{
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["kafka-cluster:*"],"Resource":"*"}]}`:                                               1,
		`{"Statement":{"Effect":"Allow","Action":"*","Resource":["*","x"]}}`:                                                                                  1,
		`{"Statement":[{"Effect":"Allow","Action":"kafka-cluster:ReadData","Resource":"*"},{"Effect":"Deny","Action":"*","Resource":"*"}]}`:                   0,
		`{"Statement":[{"Effect":"Allow","Action":"kafka:Describe*","Resource":"*"}]}`:                                                                        0,
		`{"Statement":[{"Effect":"Allow","Action":"kafka-cluster:*","Resource":"arn:aws:kafka:*:*:topic/*/*/a"}]}`:                                            0,
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kafka-cluster:Connect","Resource":"x"}]}`:                                                  1,
		`{"Statement":[{"Effect":"Allow","Principal":{"AWS":["123456789012","*"]},"Action":"kafka-cluster:Connect","Resource":"x"}]}`:                         1,
		`{"document":"{\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\"}]}"}`:                                                         1,
		`[{"principal":"User:*","permission":"ALLOW","operation":"READ","name":"pay"}]`:                                                                       1,
		`[{"Principal":"User:a","Permission":"Allow","Operation":"ALL","Name":"*"}]`:                                                                          1,
		`[{"principal":"User:*","permission":"DENY","operation":"ALL","name":"*"},{"principal":"User:a","permission":"ALLOW","operation":"READ","name":"*"}]`: 0,
		`{"policy":"MillraceAdministrator"}`: 1,
		`{`:                                  0, ``: 0, `7`: 0, `{"Effect":7,"Statement":{"Effect":"Allow"}}`: 0,
		strings.Repeat(`[`, 10_000) + strings.Repeat(`]`, 10_000): 0,
	} {
		if got := Grants([]byte(state)); len(got) != want {
			t.Errorf("%s: %q", state[:min(len(state), 200)], got)
		}
	}
}

func TestActions(t *testing.T) {
	got := Actions([]byte(`{"Statement":[{"Effect":"Allow","Action":["a:*","b:c"],"Resource":"x"},{"Effect":"Deny","Action":"d:e"},{"Effect":"Allow","NotAction":"f:g"}]}`))
	if strings.Join(got, " ") != "a:* b:c" {
		t.Error(got)
	}
}

func FuzzGrants(f *testing.F) {
	f.Add([]byte(`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`))
	f.Fuzz(func(_ *testing.T, state []byte) { Grants(state) })
}
