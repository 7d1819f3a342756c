package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"slices"
	"strings"
)

// exceptionsFile is the one list of reviewed breaches, looked up from the module's top.
const exceptionsFile = "tools/housecheck/exceptions.txt"

// rules are all rules of the house, in the order of the report's headings.
func rules() []rule {
	return []rule{
		{"levels", checkLevels},
		{"apart", checkApart},
		{"two-way", checkTwoWay},
		{"door", checkDoors},
		{"background", checkBackground},
		{"sleep", checkSleep},
		{"package-comment", checkPackageComments},
		{"exported-doc", checkExportedDocs},
		{"config-doc", checkConfigDocs},
		{"name", checkNames},
		{"generated", checkGenerated},
		{"function-size", checkFunctionSizes},
		{"file-size", checkFileSizes},
		{"package-size", checkPackageSizes},
		{"init", checkInits},
		{"state", checkState},
	}
}

// rule is one law. Its check reports every breach; exceptions are not its business.
type rule struct {
	name  string
	check func(*tree, reporter)
}

// reporter takes one breach: where it stands, what it is about, and what is wrong with the mend. The subject
// (a name, an import) stays the same when lines move, so that an exception can name it.
type reporter func(at token.Position, subject, format string, args ...any)

// finding is one breach of one rule.
type finding struct {
	at      token.Position
	rule    string
	subject string
	text    string
}

// String gives the finding as editors and people read it.
func (f finding) String() string {
	return fmt.Sprintf("%s:%d: [%s] %s", f.at.Filename, f.at.Line, f.rule, f.text)
}

// key is how an exception names the finding: rule, file and subject.
func (f finding) key() string {
	return f.rule + " " + f.at.Filename + " " + f.subject
}

// check runs every rule and returns the findings ordered by place.
func (t *tree) check() []finding {
	var found []finding
	for _, r := range rules() {
		r.check(t, func(at token.Position, subject, format string, args ...any) {
			found = append(found, finding{at: at, rule: r.name, subject: subject, text: fmt.Sprintf(format, args...)})
		})
	}
	slices.SortStableFunc(found, func(a, b finding) int {
		if c := strings.Compare(a.at.Filename, b.at.Filename); c != 0 {
			return c
		}
		return a.at.Line - b.at.Line
	})
	return found
}

// exceptions is the reviewed list: one line per breach that stays, "rule file subject: reason".
type exceptions struct {
	keys []string       // in the order of the file
	line map[string]int // key -> line in the file
}

// readExceptions reads the list. A missing file is an empty list; a line without a reason is an error.
func readExceptions(fsys fs.FS) (*exceptions, error) {
	list := &exceptions{line: make(map[string]int)}
	text, err := fs.ReadFile(fsys, exceptionsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return list, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the exceptions: %w", err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, reason, ok := strings.Cut(line, ": ")
		if !ok || strings.TrimSpace(reason) == "" || len(strings.Fields(key)) != 3 {
			return nil, fmt.Errorf("%s:%d: want \"rule file subject: reason\", have %q", exceptionsFile, n, line)
		}
		key = strings.Join(strings.Fields(key), " ")
		list.keys = append(list.keys, key)
		list.line[key] = n
	}
	return list, nil
}

// filter removes the excepted findings, and adds one for every exception that nothing needs any more.
func (e *exceptions) filter(found []finding) []finding {
	used := make(map[string]bool)
	left := slices.DeleteFunc(found, func(f finding) bool {
		_, excepted := e.line[f.key()]
		used[f.key()] = true
		return excepted
	})
	for _, key := range e.keys {
		if !used[key] {
			left = append(left, finding{
				at:   token.Position{Filename: exceptionsFile, Line: e.line[key]},
				rule: "exception",
				text: fmt.Sprintf("nothing breaks %q any more; delete the line", key),
			})
		}
	}
	return left
}

// importSpecs calls visit for each import of this module's own packages.
func (t *tree) importSpecs(visit func(p *pkg, f *file, spec *ast.ImportSpec, dir string)) {
	t.each(func(p *pkg, f *file) {
		for _, spec := range f.ast.Imports {
			if dir, ok := t.local(importPath(spec)); ok {
				visit(p, f, spec, dir)
			}
		}
	})
}
