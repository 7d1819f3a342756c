package node_test

import (
	"flag"
	"os"
	"strconv"
	"testing"
)

// sideBySide is how many of the tests that take turns with others run at once: they wait for sessions, heartbeats and the timeouts of
// clients, and all of them together do not keep one processor busy.
const sideBySide = 6

// TestMain runs more tests side by side than there are processors, unless the command line says how many.
func TestMain(m *testing.M) {
	const parallel = "test.parallel"
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == parallel })
	if !asked {
		if err := flag.Set(parallel, strconv.Itoa(sideBySide)); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
