// Package cluster is what users do with a sandbox: bring it up, look at it,
// disturb its components, take it down.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ompipe/ompipe/sandbox/internal/cgroup"
	"github.com/ompipe/ompipe/sandbox/internal/layout"
	"github.com/ompipe/ompipe/sandbox/internal/lock"
	"github.com/ompipe/ompipe/sandbox/internal/network"
	"github.com/ompipe/ompipe/sandbox/internal/process"
	"github.com/ompipe/ompipe/sandbox/internal/state"
)

// Step is told what has been achieved.
type Step func(format string, arguments ...any)

// Sandbox is one sandbox, up or not.
type Sandbox struct {
	layout layout.Layout
	step   Step
}

// Open names the sandbox in dir; nothing is created.
func Open(dir string, step Step) (*Sandbox, error) {
	l, err := layout.New(dir)
	if err != nil {
		return nil, err
	}
	return &Sandbox{layout: l, step: step}, nil
}

// exclusively runs work while no other command changes this sandbox.
func (s *Sandbox) exclusively(ctx context.Context, work func() error) error {
	held, err := lock.Take(ctx, s.layout.Dir, func() { s.step("waiting for another command on this sandbox") })
	if err != nil {
		return err
	}
	defer held.Release()
	return work()
}

// loadUp reads the record of a sandbox that has to be up.
func (s *Sandbox) loadUp() (*state.State, error) {
	recorded, err := state.Load(s.layout.StateFile())
	if err != nil {
		return nil, err
	}
	if recorded == nil {
		return nil, fmt.Errorf("there is no sandbox in %s: `sandbox up --dir %[1]s` starts one", s.layout.Dir)
	}
	if !recorded.SupervisorAlive() {
		return nil, fmt.Errorf("the supervisor of the sandbox in %s has died: `sandbox up` starts anew, `sandbox down` cleans up",
			s.layout.Dir)
	}
	return recorded, nil
}

// cleanUp ends and removes whatever a sandbox has made, recorded or not. The
// image store and the logs stay.
func (s *Sandbox) cleanUp(ctx context.Context, recorded *state.State) error {
	var failures []error
	if recorded != nil {
		failures = append(failures, process.StopAll(ctx, recorded.Processes()))
	}
	marked, err := process.Marked(s.layout.ID)
	failures = append(failures, err, process.StopAll(ctx, marked))
	if os.Geteuid() == 0 {
		failures = append(failures, network.RemoveLink(s.layout.Link()), cgroup.Remove(ctx, s.layout.Cgroup()))
	}
	for _, path := range s.layout.ClusterFiles() {
		failures = append(failures, os.RemoveAll(path))
	}
	return errors.Join(failures...)
}

// exists tells whether the sandbox's directory is there.
func (s *Sandbox) exists() (bool, error) {
	_, err := os.Stat(s.layout.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
