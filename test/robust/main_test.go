package robust

import (
	"flag"
	"os"
	"strconv"
	"testing"
)

// sideBySide is how many of the tests that take turns with others run at once in an ordinary run: most of their time is waiting, and
// not even all of them together keep two processors busy.
const sideBySide = 5

// TestMain runs more tests side by side than there are processors, unless one of them is to go on for long.
func TestMain(m *testing.M) {
	flag.Parse()
	long := os.Getenv(bankVariable) != "" || os.Getenv(churnVariable) != "" || os.Getenv(nemesisVariable) != ""
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == parallelFlag })
	if !long && !asked {
		if err := flag.Set(parallelFlag, strconv.Itoa(sideBySide)); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

const parallelFlag = "test.parallel"
