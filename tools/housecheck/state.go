package main

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// checkInits: nothing happens because a package was imported.
func checkInits(t *tree, report reporter) {
	t.each(func(_ *pkg, f *file) {
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				report(t.position(fn), "init", "func init; write the table out, or let the constructor do the work")
			}
		}
	})
}

// pureCalls are the functions whose result, kept in a package variable, is as good as a constant.
func pureCalls() []string {
	return []string{"errors.New", "fmt.Errorf", "regexp.MustCompile", "hash/crc32.MakeTable", "hash/crc64.MakeTable", "strings.NewReplacer",
		"text/template.Must", "html/template.Must", "sync.OnceValue", "sync.OnceValues"}
}

// checkState: a package has no variables that vary. A package-level variable is let pass when it is data
// written out at its declaration (no call but the pure ones and the package's own that return plain data,
// nothing from sync, no channel or map made empty) and nothing in the module assigns to it or to a part of
// it, or takes its address. A sync.Pool passes: nothing may depend on what is in it. Test files may declare
// flags, but may not change a room's variables either.
func checkState(t *tree, report reporter) {
	changed := t.changedVariables()
	for _, p := range t.pkgs {
		plain := p.plainNames()
		for _, f := range p.files {
			if f.test || f.generated {
				continue
			}
			f.packageVariables(func(spec *ast.ValueSpec, embedded bool) {
				if embedded || f.mentions(spec, "sync.Pool") {
					return
				}
				for i, name := range spec.Names {
					if name.Name == "_" {
						continue
					}
					at := t.position(name)
					if where, ok := changed[symbol{p.dir, name.Name}]; ok {
						report(at, name.Name, "package variable %s is changed at %s:%d; make it a field of the value that needs it", name.Name, where.Filename, where.Line)
						continue
					}
					if why := f.mutable(spec, i, plain); why != "" {
						report(at, name.Name, "package variable %s %s; make it a field of the value that needs it, or a function that returns it", name.Name, why)
					}
				}
			})
		}
	}
}

// symbol names something declared at the top of a package of the module.
type symbol struct{ dir, name string }

// packageVariables calls visit for each variable declaration at the top of the file. Embedded says that the
// linker fills it from files.
func (f *file) packageVariables(visit func(spec *ast.ValueSpec, embedded bool)) {
	for _, decl := range f.ast.Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok || d.Tok != token.VAR {
			continue
		}
		for _, spec := range d.Specs {
			s := spec.(*ast.ValueSpec)
			visit(s, hasEmbed(d.Doc) || hasEmbed(s.Doc))
		}
	}
}

func hasEmbed(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

// mentions reports whether the declaration names the selector, given as "path.Name".
func (f *file) mentions(spec *ast.ValueSpec, selector string) (found bool) {
	ast.Inspect(spec, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			importPath, name, _ := f.selected(sel)
			found = found || importPath+"."+name == selector
		}
		return !found
	})
	return found
}

// plainNames returns what of the package may be called to make a constant in disguise: its types, by which a
// call is a conversion, and its functions that return one value of an unnamed type, which has no methods to
// change it by.
func (p *pkg) plainNames() map[string]bool {
	names := make(map[string]bool)
	for _, f := range p.files {
		for _, decl := range f.ast.Decls {
			switch d := decl.(type) {
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if s, ok := spec.(*ast.TypeSpec); ok {
						names[s.Name.Name] = true
					}
				}
			case *ast.FuncDecl:
				if results := d.Type.Results; d.Recv == nil && results.NumFields() == 1 {
					switch results.List[0].Type.(type) {
					case *ast.MapType, *ast.ArrayType:
						names[d.Name.Name] = true
					}
				}
			}
		}
	}
	return names
}

// mutable tells why the i-th variable of a declaration cannot be a constant in disguise, "" if it can.
func (f *file) mutable(spec *ast.ValueSpec, i int, plain map[string]bool) string {
	if len(spec.Values) == 0 {
		return "starts empty, so something must fill it"
	}
	why := ""
	look := func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false // a function in a table; what it does when called is its own matter
		case *ast.ChanType:
			why = "holds a channel"
		case *ast.SelectorExpr:
			importPath, name, ok := f.selected(n)
			if ok && (importPath == "sync" || importPath == "sync/atomic") && !slices.Contains(pureCalls(), importPath+"."+name) {
				why = "holds a lock or an atomic"
			}
		case *ast.CallExpr:
			if name := f.impureCall(n, plain); name != "" {
				why = "is made by a call of " + name
			}
		}
		return why == ""
	}
	if spec.Type != nil {
		ast.Inspect(spec.Type, look)
	}
	ast.Inspect(spec.Values[min(i, len(spec.Values)-1)], look)
	return why
}

// impureCall returns the name of what is called, "" when it is a conversion or a pure call.
func (f *file) impureCall(call *ast.CallExpr, plain map[string]bool) string {
	switch fn := ast.Unparen(call.Fun).(type) {
	case *ast.SelectorExpr:
		importPath, name, ok := f.selected(fn)
		if ok && slices.Contains(pureCalls(), importPath+"."+name) {
			return ""
		}
		return fn.Sel.Name
	case *ast.Ident:
		if plain[fn.Name] || slices.Contains([]string{"append", "string", "byte", "len", "min", "max", "int", "int8", "int16", "int32", "int64",
			"uint", "uint8", "uint16", "uint32", "uint64", "float32", "float64"}, fn.Name) {
			return ""
		}
		return fn.Name
	case *ast.ArrayType, *ast.FuncLit, *ast.StarExpr:
		return ""
	default:
		return "a function"
	}
}

// changedVariables returns where package-level variables are assigned to, in whole or in part, or have
// their address taken: the first place of each.
func (t *tree) changedVariables() map[symbol]token.Position {
	changed := make(map[symbol]token.Position)
	t.each(func(p *pkg, f *file) {
		mark := func(e ast.Expr) {
			if v, ok := t.rootSymbol(p, f, e); ok {
				if _, seen := changed[v]; !seen {
					changed[v] = t.position(e)
				}
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			for _, e := range writtenBy(n) {
				mark(e)
			}
			return true
		})
	})
	return changed
}

// writtenBy returns the expressions that a node changes or could let others change.
func writtenBy(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			return []ast.Expr{n.X}
		}
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			return slices.DeleteFunc([]ast.Expr{n.Key, n.Value}, func(e ast.Expr) bool { return e == nil })
		}
	case *ast.CallExpr:
		if fn, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && slices.Contains([]string{"delete", "clear", "copy"}, fn.Name) {
			return n.Args[:1]
		}
	}
	return nil
}

// rootSymbol returns the package-level name that an expression is, or is a part of.
func (t *tree) rootSymbol(p *pkg, f *file, e ast.Expr) (symbol, bool) {
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.SelectorExpr:
			if importPath, name, ok := f.selected(x); ok {
				dir, ours := t.local(importPath)
				return symbol{dir, name}, ours
			}
			e = x.X
		case *ast.Ident:
			return symbol{p.dir, x.Name}, !f.isLocal(x)
		default:
			return symbol{}, false
		}
	}
}
