package main

import (
	"go/ast"
	"slices"
	"strings"
)

// door is something from outside the house that only some folders may touch.
type door struct {
	what    string   // in the message: "only ... touches X"
	imports []string // path prefixes whose import is the breach
	calls   []string // "package.Name" selectors whose use is the breach
	behind  []string // folders that are the door
	exempt  []string // folders that need not use it, beside test files
}

// doors returns the single doors of the house.
func doors() []door {
	files := []string{"Open", "OpenFile", "OpenInRoot", "OpenRoot", "Create", "CreateTemp", "ReadFile", "WriteFile", "ReadDir",
		"Mkdir", "MkdirAll", "MkdirTemp", "Remove", "RemoveAll", "Rename", "Truncate", "Link", "Symlink", "CopyFS", "DirFS"}
	for i := range files {
		files[i] = "os." + files[i]
	}
	return []door{
		{
			what:    "the etcd client",
			imports: []string{"go.etcd.io/"},
			behind:  []string{"base/kv"},
			exempt:  []string{"test", "tools"},
		},
		{
			what:    "child processes",
			imports: []string{"os/exec"},
			calls:   []string{"os.StartProcess", "syscall.ForkExec", "syscall.StartProcess", "syscall.Exec"},
			behind:  []string{"base/proc"},
			exempt:  outside(),
		},
		{
			what:   "data files",
			calls:  files,
			behind: []string{"base/disk"},
			exempt: append(outside(), "cmd", "base/proc"), // proc reads /proc and opens the logs of children
		},
		{
			what:   "the wall clock",
			calls:  []string{"time.Now", "time.Since", "time.Until"},
			behind: []string{"base/clock"},
			exempt: outside(),
		},
		{
			what:    "cloud SDKs",
			imports: []string{"github.com/aws/", "cloud.google.com/", "github.com/Azure/", "gocloud.dev/"},
			behind:  []string{"base/object", "secure/keys", "secure/ship/cloudwatch"},
			exempt:  []string{"test"},
		},
	}
}

// checkDoors: what lies outside the house is reached through one door.
func checkDoors(t *tree, report reporter) {
	for _, d := range doors() {
		t.each(func(p *pkg, f *file) {
			within := func(folder string) bool { return below(p.dir, folder) }
			if f.test || isSuite(p.dir) || slices.ContainsFunc(d.behind, within) || slices.ContainsFunc(d.exempt, within) {
				return
			}
			for _, spec := range f.ast.Imports {
				if hasAnyPrefix(importPath(spec), d.imports) {
					report(t.position(spec), importPath(spec), "import of %s: only %s touches %s; use that room",
						importPath(spec), strings.Join(d.behind, ", "), d.what)
				}
			}
			f.selectors(d.calls, func(sel *ast.SelectorExpr, name string) {
				report(t.position(sel), name, "%s: only %s touches %s; take what you need from there as a value",
					name, strings.Join(d.behind, ", "), d.what)
			})
		})
	}
}

// checkBackground: a context comes from the caller, so that every wait has an end that someone owns.
func checkBackground(t *tree, report reporter) {
	t.each(func(p *pkg, f *file) {
		if f.test || isSuite(p.dir) || below(p.dir, "cmd") || isOutside(p.dir) {
			return
		}
		f.selectors([]string{"context.Background", "context.TODO"}, func(sel *ast.SelectorExpr, name string) {
			report(t.position(sel), name, "%s outside cmd and tests; take a ctx from the caller", name)
		})
	})
}

// checkSleep: nobody sleeps, tests least of all: a sleep is either too short on a busy machine or too long. Test files
// that use testing/synctest are let pass, because there it is the fake clock that moves.
func checkSleep(t *tree, report reporter) {
	t.each(func(_ *pkg, f *file) {
		if _, fake := f.imports["synctest"]; fake && f.test {
			return
		}
		f.selectors([]string{"time.Sleep"}, func(sel *ast.SelectorExpr, name string) {
			report(t.position(sel), name, "time.Sleep; wait for the event itself (a channel, a condition), use testing/synctest in tests, or a timer with the ctx")
		})
	})
}

// selectors calls visit for each use in the file of one of the names, given as "path.Name".
func (f *file) selectors(names []string, visit func(sel *ast.SelectorExpr, name string)) {
	if len(names) == 0 {
		return
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if importPath, member, ok := f.selected(sel); ok && slices.Contains(names, importPath+"."+member) {
			visit(sel, importPath+"."+member)
		}
		return true
	})
}

func hasAnyPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}
