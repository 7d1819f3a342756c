package terminal

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"golang.org/x/term"

	"millrace/kafka/client"
)

// The values of --output.
const (
	Table = "table" // for people
	JSON  = "json"  // for programs
)

// IO is where the verbs read and write, and the flags that all or many of them have. It is for one verb at a time.
type IO struct {
	In          io.Reader
	Out, ErrOut io.Writer

	Output    string          // Table or JSON
	Bootstrap []string        // addresses of brokers, HOST:PORT
	Security  client.Security // how to talk to them
}

// Print writes v as JSON, or as the table that rows fills in.
func (t *IO) Print(v any, header table.Row, rows []table.Row) error {
	if t.Output == JSON {
		return t.PrintJSON(v)
	}
	w := table.NewWriter()
	w.SetOutputMirror(t.Out)
	w.SetStyle(table.StyleLight)
	w.Style().Options = table.OptionsNoBordersAndSeparators
	w.Style().Box.PaddingLeft = ""
	w.Style().Box.PaddingRight = "   "
	w.AppendHeader(header)
	w.AppendRows(rows)
	w.Render()
	return nil
}

// PrintJSON writes v, indented.
func (t *IO) PrintJSON(v any) error {
	enc := json.NewEncoder(t.Out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// Say writes one line for people; with --output json the result itself says it.
func (t *IO) Say(format string, args ...any) {
	if t.Output != JSON {
		fmt.Fprintf(t.Out, format+"\n", args...)
	}
}

// IsTerminal says whether f is a terminal that a person looks at.
func IsTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Confirm asks a question on the terminal; anything but y or yes is a no.
func (t *IO) Confirm(format string, args ...any) bool {
	fmt.Fprintf(t.ErrOut, format+" [y/N] ", args...)
	answer, err := bufio.NewReader(t.In).ReadString('\n')
	if err != nil && answer == "" {
		return false
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

// Count writes n with thousands set apart: 1,234,567.
func Count(n int64) string {
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

// Size writes a number of bytes for people: 1.5 MB.
func Size(n int64) string {
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

// CloseInto reports the error of closing c where err is nil so far.
func CloseInto(err *error, c io.Closer) {
	if e := c.Close(); *err == nil {
		*err = e
	}
}
