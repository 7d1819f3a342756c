package main

import "go/ast"

// The largest sizes, in lines, comments counted. The aims are 40, 500 and 2,000; these are the law.
const (
	functionLinesMax = 100
	fileLinesMax     = 1000
	packageLinesMax  = 4000 // without tests

	// The Kafka API has one short file per key, which know nothing of each other; a reader looks for one of them.
	perKeyPackage  = "express/api"
	perKeyLinesMax = 6500
)

// checkFunctionSizes: a function can be read at one look.
func checkFunctionSizes(t *tree, report reporter) {
	t.each(func(_ *pkg, f *file) {
		if f.generated {
			return
		}
		for _, decl := range f.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := t.fset.Position(fn.End()).Line - t.position(fn).Line + 1
			if lines > functionLinesMax {
				report(t.position(fn), functionName(fn), "%s has %d lines, more than %d; cut it where it changes the subject",
					functionName(fn), lines, functionLinesMax)
			}
		}
	})
}

// checkFileSizes: a file is about one thing.
func checkFileSizes(t *tree, report reporter) {
	t.each(func(_ *pkg, f *file) {
		if !f.generated && f.lines > fileLinesMax {
			report(t.position(f.ast), "-", "the file has %d lines, more than %d; cut it by subject", f.lines, fileLinesMax)
		}
	})
}

// checkPackageSizes: a package speaks one vocabulary.
func checkPackageSizes(t *tree, report reporter) {
	for _, p := range t.pkgs {
		lines := 0
		for _, f := range p.files {
			if !f.test && !f.generated {
				lines += f.lines
			}
		}
		most := packageLinesMax
		if p.dir == perKeyPackage {
			most = perKeyLinesMax
		}
		if lines > most {
			report(t.position(p.files[0].ast), p.dir, "package %s has %d lines without its tests, more than %d; split it where two vocabularies meet",
				p.dir, lines, most)
		}
	}
}

// functionName returns "Name" or "Type.Name".
func functionName(fn *ast.FuncDecl) string {
	if receiver := receiverType(fn); receiver != "" {
		return receiver + "." + fn.Name.Name
	}
	return fn.Name.Name
}

// receiverType returns the name of the type that a method belongs to, "" for a function.
func receiverType(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return ""
	}
	typ := fn.Recv.List[0].Type
	for {
		switch t := typ.(type) {
		case *ast.StarExpr:
			typ = t.X
		case *ast.IndexExpr:
			typ = t.X
		case *ast.IndexListExpr:
			typ = t.X
		case *ast.Ident:
			return t.Name
		default:
			return ""
		}
	}
}
