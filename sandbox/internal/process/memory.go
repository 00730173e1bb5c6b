package process

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// MemoryKiB is the process's share of the machine's memory; 0 when it is gone.
// Pages that several processes map count in parts: all components run from
// one binary.
func (i Identity) MemoryKiB() int {
	if !i.Alive() {
		return 0
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", i.PID))
	if err != nil {
		return 0
	}
	return proportionalMemory(string(maps))
}

// proportionalMemory finds the line Pss of /proc/PID/smaps_rollup.
func proportionalMemory(maps string) int {
	for line := range strings.Lines(maps) {
		value, found := strings.CutPrefix(line, "Pss:")
		if !found {
			continue
		}
		memory, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
		if err == nil {
			return memory
		}
	}
	return 0
}

// Wait returns when the process has ended.
func (i Identity) Wait(ctx context.Context) error {
	pinned, err := i.pin()
	if err != nil {
		return ignoreGone(err)
	}
	defer unix.Close(pinned)
	for {
		ended, err := waitPinned(ctx, pinned, pollSlice)
		if ended || err != nil {
			return err
		}
	}
}
