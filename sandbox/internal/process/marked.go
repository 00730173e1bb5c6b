package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// markVariable is set in the environment of everything a sandbox starts. It is
// how leftovers are found when no record of them was written.
const markVariable = "OMPIPE_SANDBOX_CHILD_OF"

// Mark is the environment entry that marks a process as the sandbox's.
func Mark(sandboxID string) string { return markVariable + "=" + sandboxID }

// Marked finds the live processes that carry the sandbox's mark, those that
// inherited it (containerd's shims) too.
func Marked(sandboxID string) ([]Identity, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var found []Identity
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || !carries(pid, Mark(sandboxID)) {
			continue
		}
		if one, err := Of(pid); err == nil && one.Alive() {
			found = append(found, one)
		}
	}
	return found, nil
}

// carries reads another process's environment; a process that ends meanwhile,
// or that belongs to another user, carries nothing of ours.
func carries(pid int, mark string) bool {
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	for entry := range bytes.SplitSeq(environment, []byte{0}) {
		if string(entry) == mark {
			return true
		}
	}
	return false
}
