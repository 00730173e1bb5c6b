// Package cgroup makes and removes the control group that holds a sandbox's
// pods, on cgroup v1 and v2.
//
// Two kubelets must not share a parent group: each ends what it does not know.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ompipe/ompipe/sandbox/internal/process"
)

// unified is the mount point of cgroup v2 where it is the only version.
const unified = "/sys/fs/cgroup"

// Create makes the group below every mounted hierarchy.
func Create(name string) error {
	hierarchies, err := hierarchies()
	if err != nil {
		return err
	}
	if len(hierarchies) == 0 {
		return errors.New("no cgroup hierarchy is mounted: mount one at /sys/fs/cgroup, or use --control-plane-only")
	}
	for _, one := range hierarchies {
		if err := one.create(name); err != nil {
			return fmt.Errorf("create control group %s: %w", filepath.Join(one.root, name), err)
		}
	}
	return nil
}

// hierarchy is one tree of control groups.
type hierarchy struct {
	root string
	kind kind
}

type kind int

const (
	v1 kind = iota + 1
	v2
	// v2Beside has no controllers, since v1 has them; the kubelet does not use
	// it, but runc makes groups in it.
	v2Beside
)

func hierarchies() ([]hierarchy, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	return parseHierarchies(string(mounts)), nil
}

func parseHierarchies(mountinfo string) []hierarchy {
	var found []hierarchy
	for line := range strings.Lines(mountinfo) {
		places, kinds, separated := strings.Cut(line, " - ")
		place, mounted := strings.Fields(places), strings.Fields(kinds)
		if !separated || len(place) < 5 || len(mounted) == 0 {
			continue
		}
		switch root := place[4]; {
		case mounted[0] == "cgroup":
			found = append(found, hierarchy{root, v1})
		case mounted[0] == "cgroup2" && root == unified:
			found = append(found, hierarchy{root, v2})
		case mounted[0] == "cgroup2":
			found = append(found, hierarchy{root, v2Beside})
		}
	}
	return found
}

func (h hierarchy) create(name string) error {
	if h.kind == v2Beside {
		return nil
	}
	group := filepath.Join(h.root, name)
	if h.kind == v2 {
		if err := delegate(h.root); err != nil {
			return err
		}
	}
	if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if h.kind == v2 {
		return delegate(group)
	}
	return inheritCPUSet(h.root, group)
}

// delegate lets the children of a v2 group use all its controllers; without
// it the kubelet finds none in its own.
func delegate(group string) error {
	controllers, err := os.ReadFile(filepath.Join(group, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, controller := range strings.Fields(string(controllers)) {
		err := os.WriteFile(filepath.Join(group, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
		if err != nil && needed(controller) {
			return fmt.Errorf("enable the %s controller in %s: %w (in a container, move its processes to a child group first)",
				controller, group, err)
		}
	}
	return nil
}

func needed(controller string) bool {
	switch controller {
	case "cpu", "cpuset", "memory", "pids":
		return true
	}
	return false
}

// inheritCPUSet fills the settings that a v1 cpuset group starts without; no
// process could be put into it otherwise.
func inheritCPUSet(parent, group string) error {
	for _, setting := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, setting))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(group, setting), value, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// removePatience is how long the kernel may take to empty a group after its
// processes were killed.
const removePatience = 10 * time.Second

// Remove kills everything in the group and removes it with all groups below.
func Remove(ctx context.Context, name string) error {
	hierarchies, err := hierarchies()
	if err != nil {
		return err
	}
	var failures []error
	for _, one := range hierarchies {
		failures = append(failures, remove(ctx, filepath.Join(one.root, name)))
	}
	return errors.Join(failures...)
}

func remove(ctx context.Context, group string) error {
	deadline := time.Now().Add(removePatience)
	for {
		err := removeOnce(ctx, group)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func removeOnce(ctx context.Context, group string) error {
	groups, err := below(group)
	if err != nil {
		return err
	}
	for _, one := range groups {
		if err := killMembers(ctx, one); err != nil {
			return err
		}
		if err := os.Remove(one); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove control group: %w", err)
		}
	}
	return nil
}

// below lists the group and all groups in it, the deepest first.
func below(group string) ([]string, error) {
	var groups []string
	err := filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() {
			groups = append([]string{path}, groups...)
		}
		return err
	})
	return groups, err
}

func killMembers(ctx context.Context, group string) error {
	members, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var processes []process.Identity
	for _, member := range strings.Fields(string(members)) {
		pid, err := strconv.Atoi(member)
		if err != nil {
			return fmt.Errorf("process id %q in %s: %w", member, group, err)
		}
		if one, err := process.Of(pid); err == nil {
			processes = append(processes, one)
		}
	}
	return process.StopAll(ctx, processes)
}

// Exists tells whether any hierarchy still has the group.
func Exists(name string) (bool, error) {
	hierarchies, err := hierarchies()
	if err != nil {
		return false, err
	}
	for _, one := range hierarchies {
		if _, err := os.Stat(filepath.Join(one.root, name)); err == nil {
			return true, nil
		}
	}
	return false, nil
}
