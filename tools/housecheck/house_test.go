package main

import (
	"os"
	"strings"
	"testing"
)

// TestHouse holds this module to its plan, so that the ordinary test command does.
func TestHouse(t *testing.T) {
	var report strings.Builder
	n, err := run(&report, os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if n > 0 {
		t.Errorf("%d findings:\n%s", n, report.String())
	}
}
