// Package breadth says what in a policy or an access control list goes further than anybody needs: it is for everybody, or for everything.
//
// Flow: the JSON of an IAM policy, of a resource policy, of an attachment or of ACLs, alone or deep within other state -> Grants. What it cannot read has
// no grants: it is for reports and alerts, and never decides what somebody may do.
//
// All functions are pure.
package breadth

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Administrator is the policy that allows everything.
const Administrator = "MillraceAdministrator"

// maxDepth bounds how deep a state is looked into.
const maxDepth = 32

// Walk calls each for every JSON object within a state, with where it stands; documents that are kept as texts are looked into too. What is no JSON has none.
func Walk(state []byte, each func(path string, object map[string]any)) {
	var v any
	if len(state) == 0 || json.Unmarshal(state, &v) != nil {
		return
	}
	var visit func(path string, v any, depth int)
	visit = func(path string, v any, depth int) {
		if depth > maxDepth {
			return
		}
		switch v := v.(type) {
		case map[string]any:
			each(path, v)
			for key, value := range v {
				visit(strings.TrimPrefix(path+"."+key, "."), value, depth+1)
			}
		case []any:
			for _, value := range v {
				visit(path, value, depth+1)
			}
		case string: // documents are kept as texts in places
			var inner any
			if strings.HasPrefix(v, "{") && json.Unmarshal([]byte(v), &inner) == nil {
				visit(path, inner, depth+1)
			}
		}
	}
	visit("", v, 0)
}

// Grants lists, as sentences, what a state allows everybody, or allows on everything.
func Grants(state []byte) []string {
	var grants []string
	Walk(state, func(_ string, object map[string]any) {
		o := lower(object)
		switch {
		case text(o["effect"]) == "Allow":
			for _, action := range texts(o["action"]) {
				for _, resource := range texts(o["resource"]) {
					if strings.HasSuffix(action, "*") && !strings.Contains(action, ":Describe") && !strings.Contains(action, ":List") && resource == "*" {
						grants = append(grants, fmt.Sprintf("a policy allows %s on every resource", action))
					}
				}
			}
			if principal := o["principal"]; text(principal) == "*" || anybody(principal) {
				grants = append(grants, "a resource policy allows everybody")
			}
		case strings.EqualFold(text(o["permission"]), "allow"):
			name, operation := text(o["name"]), text(o["operation"])
			if text(o["principal"]) == "User:*" {
				grants = append(grants, fmt.Sprintf("an ACL allows everybody %s on %s", operation, name))
			}
			if name == "*" && strings.EqualFold(operation, "all") {
				grants = append(grants, fmt.Sprintf("an ACL allows %s all operations on every resource of a type", text(o["principal"])))
			}
		}
		for _, attached := range texts(o["policy"]) {
			if attached == Administrator {
				grants = append(grants, "the policy "+Administrator+" is attached, which allows everything")
			}
		}
	})
	return grants
}

// Actions lists what the statements of a policy that allow something name as their actions, patterns as they stand there.
func Actions(state []byte) []string {
	var actions []string
	Walk(state, func(_ string, object map[string]any) {
		if o := lower(object); text(o["effect"]) == "Allow" {
			actions = append(actions, texts(o["action"])...)
		}
	})
	return actions
}

// anybody says that an AWS principal element names all.
func anybody(principal any) bool {
	object, ok := principal.(map[string]any)
	if !ok {
		return false
	}
	return slices.Contains(texts(object["AWS"]), "*")
}

func lower(object map[string]any) map[string]any {
	out := make(map[string]any, len(object))
	for key, value := range object {
		out[strings.ToLower(key)] = value
	}
	return out
}

func text(v any) string { s, _ := v.(string); return s }

// texts is a text, or a list of them.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, one := range v {
			if s, ok := one.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}
