package cgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

func TestHierarchies(t *testing.T) {
	for name, c := range map[string]struct {
		mountinfo string
		want      []hierarchy
	}{
		"v2 alone": {
			"30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
			[]hierarchy{{"/sys/fs/cgroup", v2}},
		},
		"v1 with v2 beside it": {
			"31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
				"32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			[]hierarchy{{"/sys/fs/cgroup/memory", v1}, {"/sys/fs/cgroup/unified", v2Beside}},
		},
		"something else": {"20 1 8:1 / / rw - ext4 /dev/vda rw\n", nil},
	} {
		if got := parseHierarchies(c.mountinfo); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestRemoveKillsMembersOfGroupsBelow uses the real hierarchies when it may,
// else a directory tree that looks like one.
func TestRemoveKillsMembersOfGroupsBelow(t *testing.T) {
	command := exec.Command("sleep", "60")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	name := "ompipe-sandbox-test-" + strconv.Itoa(os.Getpid())
	if os.Geteuid() != 0 {
		removeFromTree(t, command.Process.Pid)
	} else {
		removeFromKernel(t, name, command.Process.Pid)
	}
	if err := <-ended; err == nil {
		t.Fatal("the member was not killed")
	}
}

func removeFromKernel(t *testing.T, name string, member int) {
	t.Helper()
	if err := Create(name); err != nil {
		t.Fatal(err)
	}
	all, err := hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(all[0].root, name, "below")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	join(t, below, member)
	if err := Remove(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if left, err := Exists(name); left || err != nil {
		t.Fatalf("still there: %v, %v", left, err)
	}
}

// removeFromTree cannot remove directories that hold files, so it only checks
// that the member is killed.
func removeFromTree(t *testing.T, member int) {
	t.Helper()
	group := filepath.Join(t.TempDir(), "group", "below")
	if err := os.MkdirAll(group, 0o755); err != nil {
		t.Fatal(err)
	}
	join(t, group, member)
	if err := killMembers(t.Context(), group); err != nil {
		t.Fatal(err)
	}
}

func join(t *testing.T, group string, pid int) {
	t.Helper()
	err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
	if err != nil {
		t.Fatal(err)
	}
}
