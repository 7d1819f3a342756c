package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// tree is one parsed module.
type tree struct {
	module string // module path, as in go.mod
	fset   *token.FileSet
	pkgs   []*pkg // ordered by folder
}

// pkg is all Go files of one folder: the package, its tests, and its external test package.
type pkg struct {
	dir   string // slash-separated, relative to the module's top; "." for the top
	files []*file
}

// isSuite reports whether the folder holds a test suite for implementations of an interface, as kvtest does for kv.
func isSuite(dir string) bool { return strings.HasSuffix(path.Base(dir), "test") }

// file is one parsed Go file.
type file struct {
	path      string // slash-separated, relative to the module's top
	test      bool   // its name ends in _test.go
	generated bool   // its name ends in _gen.go
	lines     int
	ast       *ast.File
	imports   map[string]string // local name -> import path; the blank and dot imports are left out
}

// loadTree parses every Go file of the module at the top of fsys. A file that does not parse is an error.
func loadTree(fsys fs.FS) (*tree, error) {
	module, err := modulePath(fsys)
	if err != nil {
		return nil, fmt.Errorf("read the module: %w", err)
	}
	t := &tree{module: module, fset: token.NewFileSet()}
	byDir := make(map[string]*pkg)
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return skipFolder(fsys, name)
		case path.Ext(name) != ".go":
			return nil
		}
		f, err := t.parse(fsys, name)
		if err != nil {
			return err
		}
		p := byDir[path.Dir(name)]
		if p == nil {
			p = &pkg{dir: path.Dir(name)}
			byDir[p.dir] = p
			t.pkgs = append(t.pkgs, p)
		}
		p.files = append(p.files, f)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("parse the module: %w", err)
	}
	slices.SortFunc(t.pkgs, func(a, b *pkg) int { return strings.Compare(a.dir, b.dir) })
	return t, nil
}

// modulePath returns the module's path from its go.mod.
func modulePath(fsys fs.FS) (string, error) {
	mod, err := fs.ReadFile(fsys, "go.mod")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mod)) {
		if name, ok := strings.CutPrefix(line, "module "); ok {
			return strings.TrimSpace(name), nil
		}
	}
	return "", errors.New("go.mod names no module")
}

// skipFolder returns fs.SkipDir for a folder that the go command would not take into the module.
func skipFolder(fsys fs.FS, name string) error {
	if name == "." {
		return nil
	}
	base := path.Base(name)
	if base == "testdata" || base == "vendor" || base == "node_modules" || base[0] == '.' || base[0] == '_' {
		return fs.SkipDir
	}
	if _, err := fs.Stat(fsys, path.Join(name, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func (t *tree) parse(fsys fs.FS, name string) (*file, error) {
	src, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	// Object resolution stays on: it is what tells a local variable from a package's, without types.
	parsed, err := parser.ParseFile(t.fset, name, src, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	f := &file{
		path:      name,
		test:      strings.HasSuffix(name, "_test.go"),
		generated: strings.HasSuffix(name, "_gen.go"),
		lines:     bytes.Count(src, []byte("\n")),
		ast:       parsed,
		imports:   make(map[string]string),
	}
	for _, spec := range parsed.Imports {
		if local := importName(spec); local != "_" && local != "." {
			f.imports[local] = importPath(spec)
		}
	}
	return f, nil
}

// importPath returns the path of an import; the parser has checked that it is a string.
func importPath(spec *ast.ImportSpec) string {
	p, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value
	}
	return p
}

// importName returns the name by which a file calls an import: the given one, or the path's last part that
// is not a version.
func importName(spec *ast.ImportSpec) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	p := importPath(spec)
	base := path.Base(p)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
		base = path.Base(path.Dir(p))
	}
	return base
}

// local returns the folder of an import of this module, and whether it is one.
func (t *tree) local(importPath string) (dir string, ok bool) {
	if importPath == t.module {
		return ".", true
	}
	return strings.CutPrefix(importPath, t.module+"/")
}

// position returns where n begins.
func (t *tree) position(n ast.Node) token.Position { return t.fset.Position(n.Pos()) }

// each calls visit for every file of the module.
func (t *tree) each(visit func(*pkg, *file)) {
	for _, p := range t.pkgs {
		for _, f := range p.files {
			visit(p, f)
		}
	}
}

// selected returns the import path and the name of a selector such as os.Open; ok is false when x is not an
// imported package.
func (f *file) selected(sel *ast.SelectorExpr) (importPath, name string, ok bool) {
	id, isIdent := sel.X.(*ast.Ident)
	if !isIdent || f.isLocal(id) {
		return "", "", false
	}
	importPath, ok = f.imports[id.Name]
	return importPath, sel.Sel.Name, ok
}

// isLocal reports whether the identifier means something declared inside a function of this file, and so
// neither an import nor a package's name. It is the parser's own resolution; go/types would need every dependency
// compiled.
func (f *file) isLocal(id *ast.Ident) bool {
	return id.Obj != nil && f.ast.Scope.Lookup(id.Name) != id.Obj
}

// below reports whether dir is folder or lies inside it.
func below(dir, folder string) bool {
	return dir == folder || strings.HasPrefix(dir, folder+"/")
}
