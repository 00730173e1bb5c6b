package progress

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestStepsCarryTheTimeThatHasPassed(t *testing.T) {
	var written bytes.Buffer
	printer := New(&written)
	printer.begin = printer.begin.Add(-1500 * time.Millisecond)
	printer.Step("node %s is ready", "sandbox")
	if got := written.String(); got != "  1.5s  node sandbox is ready\n" {
		t.Fatalf("%q", got)
	}
}

func TestATransferIsToldNowAndThen(t *testing.T) {
	var written bytes.Buffer
	printer := New(&written)
	printer.Transferred("a.tar", 1<<20, 4<<20)
	if written.Len() > 0 {
		t.Fatalf("told at once: %q", written.String())
	}
	printer.told = printer.told.Add(-interval)
	printer.Transferred("a.tar", 3<<20, 4<<20)
	printer.Transferred("a.tar", 4<<20, 4<<20)
	if got := written.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "a.tar: 3 of 4 MiB") {
		t.Fatalf("%q", got)
	}
}
