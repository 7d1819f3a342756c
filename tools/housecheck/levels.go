package main

import (
	"go/ast"
	"path"
	"strings"
)

// room is one folder of the plan with everything below it, and the level at which it stands.
type room struct {
	dir   string
	level string // compared as text; a letter orders what shares a number
}

// plan returns the levels of the house, lowest first. The longest matching folder counts. docs/ARCHITECTURE.md
// draws the same picture for people.
func plan() []room {
	return []room{
		{"base", "0"},
		{"aws/arn", "1"},
		{"kafka/wire", "1a"},
		{"kafka/record", "1a"},
		{"kafka/kerr", "1a"},
		{"kafka", "1b"},
		{"secure", "1c"},
		{"express/wal", "2"},
		{"express/objectlog", "2"},
		{"express/segment", "2"},
		{"express/tail", "2"},
		{"express/manifest", "2"},
		{"express/machine", "2"},
		{"express/group", "2"},
		{"express/transaction", "2"},
		{"express/share", "2"},
		{"express/quota", "2"},
		{"express/producer", "2"},
		{"express/settings", "2"},
		{"express/session", "2"},
		{"express/quota", "2"},
		{"express/telemetry", "2"},
		{"express/meter", "2"},
		{"engine", "2"},
		{"standard/dist", "2b"},
		{"standard/render", "2b"},
		{"control/sizes", "2b"},
		{"control/spec", "2c"},
		{"control/place", "2d"},
		{"control/plan", "2d"},
		{"express/catalog", "3"},
		{"express/owner", "3"},
		{"express/partition", "3"},
		{"express/coord", "3"},
		{"express/sharing", "3"},
		{"express/cleaner", "3"},
		{"express/controller", "3"},
		{"express/audit", "3"},
		{"express/backup", "3"},
		{"express/peer", "3"},
		{"express/replica", "3"},
		{"express/sharing", "3"},
		{"control", "3"},
		{"standard/warden", "3"},
		{"control/configuration", "3"},
		{"control/topics", "3"},
		{"control/sizes", "2"},
		{"control/capacity", "3"},
		{"express/api", "4"},
		{"gateway", "4"},
		{"aws/door", "4"},
		{"express/node", "5"},
		{"standard/node", "5"},
		{"agent", "5"},
		{"aws", "6"},
		{"config", "7a"},
		{"cmd", "7b"},
	}
}

// outside are the folders that may import everything and that only they themselves may import.
func outside() []string { return []string{"test", "bench", "tools", "examples"} }

// separated are folders that never meet, whatever their levels.
func separated() [][2]string {
	return [][2]string{
		{"agent", "express"},
		{"control", "express"},
		{"agent", "standard"},
		{"control", "standard"},
		{"express", "standard"},
	}
}

// levelOf returns the level of a folder; ok is false when the plan does not know it.
func levelOf(dir string) (level string, ok bool) {
	longest := -1
	for _, r := range plan() {
		if below(dir, r.dir) && len(r.dir) > longest {
			level, ok, longest = r.level, true, len(r.dir)
		}
	}
	return level, ok
}

// isOutside reports whether the folder stands outside the levels.
func isOutside(dir string) bool {
	for _, o := range outside() {
		if below(dir, o) {
			return true
		}
	}
	return false
}

// topFolder returns the house part that a folder belongs to.
func topFolder(dir string) string {
	top, _, _ := strings.Cut(dir, "/")
	return top
}

// checkLevels: imports go down the levels; within a level only inside one house part; nobody imports what
// stands outside, nor a suite but in tests; every folder with code has its level.
func checkLevels(t *tree, report reporter) {
	for _, p := range t.pkgs {
		if _, ok := levelOf(p.dir); !ok && !isOutside(p.dir) {
			f := p.files[0]
			report(t.position(f.ast), p.dir, "%s has no level; put it into the plan in tools/housecheck/levels.go", p.dir)
		}
	}
	t.importSpecs(func(p *pkg, f *file, spec *ast.ImportSpec, dir string) {
		if isOutside(p.dir) {
			return
		}
		at := t.position(spec)
		if isOutside(dir) || isSuite(dir) && !f.test && !isSuite(p.dir) {
			report(at, dir, "%s imports %s, which is for tests and tools only; move the shared part into a room", p.dir, dir)
			return
		}
		from, knownFrom := levelOf(p.dir)
		to, knownTo := levelOf(dir)
		switch {
		case !knownFrom || !knownTo || to < from:
		case to > from:
			report(at, dir, "%s (level %s) imports %s (level %s), and imports go down; declare an interface here and pass the value in, or move the shared part down",
				p.dir, from, dir, to)
		case topFolder(p.dir) != topFolder(dir):
			report(at, dir, "%s imports %s of the same level %s in another part of the house; let the level above join them",
				p.dir, dir, from)
		}
	})
}

// checkApart: the parts of the house that must not know each other do not.
func checkApart(t *tree, report reporter) {
	t.importSpecs(func(p *pkg, _ *file, spec *ast.ImportSpec, dir string) {
		for _, s := range separated() {
			if below(p.dir, s[0]) && below(dir, s[1]) || below(p.dir, s[1]) && below(dir, s[0]) {
				report(t.position(spec), dir, "%s and %s must not know each other; cmd joins them through plain data or an interface", s[0], s[1])
			}
		}
	})
}

// folderPair is an import seen from the folder in which both ends lie: from and to are the two parts of it.
type folderPair struct{ from, to string }

// pairOf returns the two different folders, side by side, that an import joins. When one folder lies inside
// the other, the outer one stands for its own files.
func pairOf(importer, imported string) folderPair {
	a, b := strings.Split(importer, "/"), strings.Split(imported, "/")
	same := 0
	for same < len(a) && same < len(b) && a[same] == b[same] {
		same++
	}
	return folderPair{from: sideOf(a, same), to: sideOf(b, same)}
}

// sideOf cuts a folder's path to one part more than what both sides share.
func sideOf(parts []string, shared int) string {
	return path.Join(parts[:min(shared+1, len(parts))]...)
}

// checkTwoWay: no two folders, at any depth, import each other. Test files are left out: an external test
// package may look at its neighbours from both sides.
func checkTwoWay(t *tree, report reporter) {
	type edge struct {
		spec     *ast.ImportSpec
		from, to string
	}
	first := make(map[folderPair]edge)
	t.importSpecs(func(p *pkg, f *file, spec *ast.ImportSpec, dir string) {
		if f.test || dir == p.dir {
			return
		}
		pair := pairOf(p.dir, dir)
		if _, seen := first[pair]; seen {
			return
		}
		first[pair] = edge{spec, p.dir, dir}
		if back, ok := first[folderPair{from: pair.to, to: pair.from}]; ok {
			report(t.position(spec), dir, "%s imports %s, and %s imports %s (%s): %s and %s import each other; make it one direction",
				p.dir, dir, back.from, back.to, t.position(back.spec), pair.from, pair.to)
		}
	})
}
