package main

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
)

// checkPackageComments: every package says what it is, in exactly one place.
func checkPackageComments(t *tree, report reporter) {
	for _, p := range t.pkgs {
		files := slices.DeleteFunc(slices.Clone(p.files), func(f *file) bool { return f.test })
		if len(files) == 0 {
			files = p.files // a folder of tests only
		}
		var first *file
		for _, f := range files {
			text := f.ast.Doc.Text()
			if text == "" {
				continue
			}
			name := f.ast.Name.Name
			if name != "main" && !strings.HasPrefix(text, "Package "+name+" ") {
				report(t.position(f.ast.Doc), name, "the package comment does not begin with %q; say what the package does in that sentence", "Package "+name)
			}
			if first != nil {
				report(t.position(f.ast.Doc), name, "a second package comment, the first is in %s; keep one, in doc.go", first.path)
				continue
			}
			first = f
		}
		if first == nil {
			report(t.position(files[0].ast), p.dir, "package %s has no package comment; write doc.go: what it does, its flow, invariants, concurrency, files", p.dir)
		}
	}
}

// contractMethods are methods whose meaning a standard interface has already told.
func contractMethods() []string {
	return []string{"Error", "Unwrap", "Is", "As", "String", "GoString", "Len", "Less", "Swap", "MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText"}
}

// checkExportedDocs: every exported name says what it means. Tests are for reading, not for importing. A method
// that fulfils an interface of the module has its contract there, if the type says so by an assertion of the form
// "var _ Interface = (*Type)(nil)".
func checkExportedDocs(t *tree, report reporter) {
	told := t.methodsToldByInterfaces()
	t.each(func(p *pkg, f *file) {
		if f.test || f.generated {
			return
		}
		undocumented := func(n ast.Node, name string) {
			report(t.position(n), name, "exported %s has no comment; say what it means (units, zero value, errors, who owns what)", name)
		}
		for _, decl := range f.ast.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if isPublicFunc(d) && d.Doc.Text() == "" && !told[method{p.dir, receiverType(d), d.Name.Name}] {
					if receiverType(d) != "" {
						report(t.position(d), functionName(d), "exported %s has no comment; say what it means, or assert the interface that tells it: var _ Interface = (*%s)(nil)",
							functionName(d), receiverType(d))
						continue
					}
					undocumented(d, functionName(d))
				}
			case *ast.GenDecl:
				t.undocumentedSpecs(d, undocumented)
			}
		}
	})
}

// isPublicFunc reports whether importers can see the function or method, and a comment is its only contract.
func isPublicFunc(fn *ast.FuncDecl) bool {
	if !fn.Name.IsExported() {
		return false
	}
	receiver := receiverType(fn)
	return receiver == "" || ast.IsExported(receiver) && !slices.Contains(contractMethods(), fn.Name.Name)
}

// undocumentedSpecs reports the exported types, constants and variables of a declaration that have no
// comment of their own, beside them, or (in a group) above them all.
func (t *tree) undocumentedSpecs(d *ast.GenDecl, report func(ast.Node, string)) {
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if !s.Name.IsExported() {
				continue
			}
			if s.Doc.Text() == "" && (d.Lparen.IsValid() || d.Doc.Text() == "") {
				report(s, s.Name.Name)
			}
			if iface, ok := s.Type.(*ast.InterfaceType); ok {
				t.undocumentedMethods(s.Name.Name, iface, report)
			}
		case *ast.ValueSpec:
			if s.Doc.Text() != "" || s.Comment.Text() != "" || d.Doc.Text() != "" {
				continue
			}
			for _, name := range s.Names {
				if name.IsExported() {
					report(s, name.Name)
				}
			}
		}
	}
}

// method names a method of a type of the module.
type method struct{ dir, typeName, name string }

// methodsToldByInterfaces returns the methods that fulfil an interface of the module by a written assertion.
func (t *tree) methodsToldByInterfaces() map[method]bool {
	methods := t.interfaceMethods()
	told := make(map[method]bool)
	t.each(func(p *pkg, f *file) {
		f.packageVariables(func(spec *ast.ValueSpec, _ bool) {
			if spec.Names[0].Name != "_" || spec.Type == nil || len(spec.Values) != 1 {
				return
			}
			iface, ok := t.rootSymbol(p, f, spec.Type)
			typeName := assertedType(spec.Values[0])
			if !ok || typeName == "" {
				return
			}
			for _, name := range methods[iface] {
				told[method{p.dir, typeName, name}] = true
			}
		})
	})
	return told
}

// interfaceMethods returns the methods that each interface of the module writes out, by the interface's name.
func (t *tree) interfaceMethods() map[symbol][]string {
	all := make(map[symbol][]string)
	t.each(func(p *pkg, f *file) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if iface, ok := spec.Type.(*ast.InterfaceType); ok {
				for _, m := range iface.Methods.List {
					for _, name := range m.Names {
						at := symbol{p.dir, spec.Name.Name}
						all[at] = append(all[at], name.Name)
					}
				}
			}
			return true
		})
	})
	return all
}

// assertedType returns T of (*T)(nil), T{} and &T{}, "" for anything else.
func assertedType(value ast.Expr) string {
	switch v := value.(type) {
	case *ast.CallExpr:
		if star, ok := ast.Unparen(v.Fun).(*ast.StarExpr); ok {
			return identName(star.X)
		}
	case *ast.UnaryExpr:
		return assertedType(v.X)
	case *ast.CompositeLit:
		return identName(v.Type)
	}
	return ""
}

func identName(e ast.Expr) string {
	if id, ok := e.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

// undocumentedMethods reports the methods of an interface without a comment. One comment may speak for the lines
// directly below it, and the interface's own for its only method.
func (t *tree) undocumentedMethods(typeName string, iface *ast.InterfaceType, report func(ast.Node, string)) {
	if iface.Methods.NumFields() == 1 {
		return
	}
	covered := 0 // the line for which a comment still speaks
	for _, m := range iface.Methods.List {
		line := t.position(m).Line
		switch {
		case m.Doc.Text() != "" || m.Comment.Text() != "" || line == covered:
			covered = t.fset.Position(m.End()).Line + 1
		case len(m.Names) == 1 && m.Names[0].IsExported():
			report(m, typeName+"."+m.Names[0].Name)
		}
	}
}

// checkConfigDocs: each setting of a room says its meaning, unit, default and bounds.
func checkConfigDocs(t *tree, report reporter) {
	t.each(func(_ *pkg, f *file) {
		if f.test || f.generated {
			return
		}
		for _, decl := range f.ast.Decls {
			d, ok := decl.(*ast.GenDecl)
			if !ok || d.Tok != token.TYPE {
				continue
			}
			for _, spec := range d.Specs {
				s := spec.(*ast.TypeSpec)
				fields, ok := s.Type.(*ast.StructType)
				if !ok || !ast.IsExported(s.Name.Name) || !strings.HasSuffix(s.Name.Name, "Config") {
					continue
				}
				for _, field := range fields.Fields.List {
					if field.Doc.Text() == "" && field.Comment.Text() == "" && anyExported(field.Names) {
						name := s.Name.Name + "." + field.Names[0].Name
						report(t.position(field), name, "setting %s has no comment; say its meaning, unit, default and bounds", name)
					}
				}
			}
		}
	})
}

func anyExported(names []*ast.Ident) bool {
	return slices.ContainsFunc(names, func(id *ast.Ident) bool { return id.IsExported() })
}

// vagueNames are package names that say nothing.
func vagueNames() []string {
	return []string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "lib", "types", "base", "core", "manager", "interfaces", "models"}
}

// standardNames are packages of the standard library that a room's name would hide.
func standardNames() []string {
	return []string{"bufio", "bytes", "cmp", "context", "crypto", "embed", "errors", "exec", "filepath", "flag", "fmt", "fs", "hash", "heap", "html", "http",
		"io", "iter", "json", "log", "maps", "math", "net", "os", "path", "rand", "reflect", "regexp", "runtime", "signal", "slices", "slog", "sort", "sql",
		"strconv", "strings", "sync", "syscall", "template", "testing", "time", "tls", "unicode", "unsafe", "url", "user", "utf8", "xml"}
}

// checkNames: a package has its folder's name, and the name says something.
func checkNames(t *tree, report reporter) {
	for _, p := range t.pkgs {
		f := p.files[0]
		name := strings.TrimSuffix(f.ast.Name.Name, "_test")
		at := t.position(f.ast.Name)
		switch {
		case slices.Contains(vagueNames(), name):
			report(at, name, "package %q says nothing; name it for what it does", name)
		case slices.Contains(standardNames(), name):
			report(at, name, "package %q has the name of a standard package; every importer would have to rename it", name)
		case name != "main" && p.dir != "." && name != path.Base(p.dir):
			report(at, name, "package %q lies in folder %q; give both one name", name, path.Base(p.dir))
		}
	}
}

// checkGenerated: what is generated says so in its name, and only that is spared by the size rules.
func checkGenerated(t *tree, report reporter) {
	t.each(func(_ *pkg, f *file) {
		switch marked := ast.IsGenerated(f.ast); {
		case marked && !f.generated:
			report(t.position(f.ast), "-", "a generated file; let its name end in _gen.go")
		case f.generated && !marked:
			report(t.position(f.ast), "-", "the name ends in _gen.go, but no line says \"Code generated ... DO NOT EDIT.\"; only generators write such files")
		}
	})
}
