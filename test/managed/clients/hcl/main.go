// Command hcl reads the files of a Terraform module and prints its resources as JSON, by "TYPE.NAME": attributes by their names, blocks as
// lists. What is known only when something was made, as the ARN of a cluster, stands there as "@TYPE.NAME.ATTRIBUTE@". Variables have their
// defaults, or the values of the arguments NAME=NUMBER that follow the folder.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// attributes are those of resources that others may name before they are known.
var attributes = []string{"arn", "id", "latest_revision", "bootstrap_brokers_sasl_iam", "bootstrap_brokers_sasl_scram"}

func run(dir string, variables []string) error {
	blocks, err := parse(dir)
	if err != nil {
		return err
	}
	known, types := map[string]cty.Value{}, map[string]map[string]cty.Value{}
	for _, b := range blocks {
		switch b.Type {
		case "variable":
			v, diags := b.Body.Attributes["default"].Expr.Value(nil)
			if diags.HasErrors() {
				return diags
			}
			known[b.Labels[0]] = v
		case "resource":
			later := map[string]cty.Value{}
			for _, name := range attributes {
				later[name] = cty.StringVal("@" + b.Labels[0] + "." + b.Labels[1] + "." + name + "@")
			}
			if types[b.Labels[0]] == nil {
				types[b.Labels[0]] = map[string]cty.Value{}
			}
			types[b.Labels[0]][b.Labels[1]] = cty.ObjectVal(later)
		}
	}
	for _, arg := range variables {
		name, value, _ := strings.Cut(arg, "=")
		v, err := cty.ParseNumberVal(value)
		if err != nil {
			return err
		}
		known[name] = v
	}
	scope := &hcl.EvalContext{
		Variables: map[string]cty.Value{"var": cty.ObjectVal(known)},
		Functions: map[string]function.Function{"jsonencode": stdlib.JSONEncodeFunc, "split": split()},
	}
	for name, resources := range types {
		scope.Variables[name] = cty.ObjectVal(resources)
	}
	out := map[string]any{}
	for _, b := range blocks {
		body, err := value(b.Body, scope)
		switch {
		case err != nil:
			return err
		case b.Type == "resource":
			out[b.Labels[0]+"."+b.Labels[1]] = body
		case b.Type == "provider":
			out["provider."+b.Labels[0]] = body
		}
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// split is Terraform's function. Of a text that is not known yet each part is the text with its number.
func split() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "separator", Type: cty.String}, {Name: "text", Type: cty.String}},
		Type:   function.StaticReturnType(cty.List(cty.String)),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			text := args[1].AsString()
			if !strings.HasPrefix(text, "@") {
				return stdlib.Split(args[0], args[1])
			}
			var parts []cty.Value
			for i := range 8 {
				parts = append(parts, cty.StringVal(fmt.Sprintf("%s[%d]", text, i)))
			}
			return cty.ListVal(parts), nil
		},
	})
}

// parse reads all files of a module.
func parse(dir string) (blocks hclsyntax.Blocks, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.tf"))
	if err != nil || len(names) == 0 {
		return nil, errors.Join(err, fmt.Errorf("no files in %s", dir))
	}
	parser := hclparse.NewParser()
	for _, name := range names {
		file, diags := parser.ParseHCLFile(name)
		if diags.HasErrors() {
			return nil, diags
		}
		blocks = append(blocks, file.Body.(*hclsyntax.Body).Blocks...)
	}
	return blocks, nil
}

// value reads a body.
func value(body *hclsyntax.Body, scope *hcl.EvalContext) (map[string]any, error) {
	out := map[string]any{}
	for name, attribute := range body.Attributes {
		if _, isType := attribute.Expr.(*hclsyntax.ScopeTraversalExpr); isType && name == "type" {
			continue // of a variable
		}
		v, diags := attribute.Expr.Value(scope)
		if diags.HasErrors() {
			return nil, diags
		}
		text, err := ctyjson.Marshal(v, v.Type())
		if err != nil {
			return nil, err
		}
		out[name] = json.RawMessage(text)
	}
	for _, b := range body.Blocks {
		inner, err := value(b.Body, scope)
		if err != nil {
			return nil, err
		}
		list, _ := out[b.Type].([]any)
		out[b.Type] = append(list, inner)
	}
	return out, nil
}
