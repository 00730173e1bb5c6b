// Package supervisor is the process that owns a sandbox's components. It
// starts them, restarts none, and records what becomes of them.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/ompipe/ompipe/sandbox/internal/components"
	"github.com/ompipe/ompipe/sandbox/internal/kubeapi"
	"github.com/ompipe/ompipe/sandbox/internal/layout"
	"github.com/ompipe/ompipe/sandbox/internal/logfile"
	"github.com/ompipe/ompipe/sandbox/internal/network"
	"github.com/ompipe/ompipe/sandbox/internal/process"
	"github.com/ompipe/ompipe/sandbox/internal/state"
)

// Supervisor owns the components of one sandbox.
type Supervisor struct {
	layout  layout.Layout
	cluster components.Cluster
	report  *Report
	node    *network.Node
	api     *kubeapi.Client
	// fail ends the boot; later calls have no effect.
	fail context.CancelCauseFunc

	// mutex guards what follows.
	mutex    sync.Mutex
	state    state.State
	children []*child
	closing  bool
}

// tailLines is how much of a dead component's log is shown.
const tailLines = 15

func (s *Supervisor) find(name string) (*child, error) {
	at := slices.IndexFunc(s.children, func(c *child) bool { return c.component.Name == name })
	if at < 0 {
		var known []string
		for _, c := range s.children {
			known = append(known, c.component.Name)
		}
		return nil, fmt.Errorf("this sandbox has no component %q; it has %v", name, known)
	}
	return s.children[at], nil
}

// Start runs a component that does not run.
func (s *Supervisor) Start(name string) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	c, err := s.find(name)
	if err != nil {
		return err
	}
	if s.closing {
		return errors.New("the sandbox is going down")
	}
	if c.record.State == state.Running {
		return fmt.Errorf("%s is running already", name)
	}
	if err := c.start(s.launcher(c.component), process.Mark(s.layout.ID), s.layout.Run, s.reaped); err != nil {
		return err
	}
	return s.save()
}

func (s *Supervisor) launcher(component components.Component) func(*exec.Cmd) error {
	if component.InNode {
		return s.node.Start
	}
	return (*exec.Cmd).Start
}

// Stop ends a component; now means without giving it time. One that does not
// run stays as it is.
func (s *Supervisor) Stop(ctx context.Context, name string, now bool) error {
	s.mutex.Lock()
	c, err := s.find(name)
	if err != nil {
		s.mutex.Unlock()
		return err
	}
	if c.record.State != state.Running {
		defer s.mutex.Unlock()
		return s.acknowledge(c)
	}
	// Recorded first, so that the end that follows is not taken for a death.
	c.enter(state.Stopped)
	target := *c.record.Process
	s.mutex.Unlock()
	grace := c.component.Grace
	if now {
		grace = 0
	}
	if err := target.Stop(ctx, grace); err != nil {
		return fmt.Errorf("stop %s: %w", name, err)
	}
	return c.wait(ctx)
}

// acknowledge turns a dead component into a stopped one: the user knows.
func (s *Supervisor) acknowledge(c *child) error {
	c.enter(state.Stopped)
	return s.save()
}

// reaped records how a process ended.
func (s *Supervisor) reaped(c *child, how *os.ProcessState) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	c.record.Exit = how.String()
	if c.record.State == state.Running && !s.closing {
		c.enter(state.Dead)
		s.fail(s.obituary(c))
	}
	if err := s.save(); err != nil {
		s.report.Log("%v", err)
	}
}

func (s *Supervisor) obituary(c *child) error {
	tail, err := logfile.Tail(c.record.Log, tailLines)
	if err != nil {
		tail = err.Error()
	}
	return fmt.Errorf("%s ended: %s; the end of its log, %s:\n%s", c.component.Name, c.record.Exit, c.record.Log, tail)
}

// save writes the record; the mutex is held.
func (s *Supervisor) save() error {
	s.state.Components = s.state.Components[:0]
	for _, c := range s.children {
		s.state.Components = append(s.state.Components, c.record)
	}
	return s.state.Save(s.layout.StateFile())
}

func (s *Supervisor) update(change func(*state.State)) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	change(&s.state)
	return s.save()
}

// close stops everything. Pods go first, while containerd can still take them
// down properly; it alone gets time, because its image store stays.
func (s *Supervisor) close(ctx context.Context) error {
	s.mutex.Lock()
	s.closing = true
	s.mutex.Unlock()
	var failures []error
	if s.cluster.Node {
		failures = append(failures, s.Stop(ctx, components.Kubelet, true), s.removePods(ctx))
	}
	for _, c := range slices.Backward(s.children) {
		keepsFiles := c.component.Name == components.Containerd
		failures = append(failures, s.Stop(ctx, c.component.Name, !keepsFiles))
	}
	return errors.Join(failures...)
}

// closePatience bounds an orderly end; what is left is killed by whoever asked.
const closePatience = 30 * time.Second
