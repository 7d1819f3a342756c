package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/jedib0t/go-pretty/v6/table"
	"golang.org/x/term"
)

// The values of --output.
const (
	outputTable = "table"
	outputJSON  = "json"
)

// print writes v as JSON, or as the table that rows fills in.
func (a *app) print(v any, header table.Row, rows []table.Row) error {
	if a.output == outputJSON {
		return a.printJSON(v)
	}
	w := table.NewWriter()
	w.SetOutputMirror(a.out)
	w.SetStyle(table.StyleLight)
	w.Style().Options = table.OptionsNoBordersAndSeparators
	w.Style().Box.PaddingLeft = ""
	w.Style().Box.PaddingRight = "   "
	w.AppendHeader(header)
	w.AppendRows(rows)
	w.Render()
	return nil
}

func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// say writes one line for people; with --output json the result itself says it.
func (a *app) say(format string, args ...any) {
	if a.output != outputJSON {
		fmt.Fprintf(a.out, format+"\n", args...)
	}
}

// isTerminal says whether f is a terminal that a person looks at.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// count writes n with thousands set apart: 1,234,567.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size writes a number of bytes for people: 1.5 MB.
func size(n int64) string {
	const step = 1000
	v, unit := float64(n), 0
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	for v >= step && unit < len(units)-1 {
		v /= step
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[unit])
}

// closeInto reports the error of closing c where err is nil so far.
func closeInto(err *error, c io.Closer) {
	if e := c.Close(); *err == nil {
		*err = e
	}
}
