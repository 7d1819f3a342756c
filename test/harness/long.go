package harness

import (
	"os"
	"testing"
)

// Everything tells whether this run is to have all there is: MILLRACE_TEST_REQUIRE is "all", as CI, `make test-all` and the suites' own
// targets set it. Then a toolchain that is missing is a failure, and what Long holds back runs. With -short it is false.
func Everything() bool { return required() && !testing.Short() }

// Long is called first by a test that a plain `go test ./...` has no time for. It skips the test, unless this run is to have everything,
// and names the command that runs it, such as "make soak". A room whose suites are long keeps one that is not, and that looks into it.
func Long(t testing.TB, command string) {
	t.Helper()
	if !Everything() {
		t.Skipf("takes long: `%s` runs it, or go test with %s=all", command, requireVariable)
	}
}

const requireVariable = "MILLRACE_TEST_REQUIRE"

// required tells whether what is missing is a failure.
func required() bool { return os.Getenv(requireVariable) == "all" }
