package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ompipe/ompipe/sandbox/internal/components"
	"github.com/ompipe/ompipe/sandbox/internal/containerd"
	"github.com/ompipe/ompipe/sandbox/internal/cri"
	"github.com/ompipe/ompipe/sandbox/internal/state"
	"github.com/ompipe/ompipe/sandbox/internal/supervisor"
)

// Act starts, stops or restarts components. With now, they are killed instead
// of asked.
func (s *Sandbox) Act(ctx context.Context, action supervisor.Action, names []string, now bool) error {
	if _, err := s.loadUp(); err != nil {
		return err
	}
	client := supervisor.Connect(s.layout)
	for _, name := range names {
		if err := client.Act(ctx, name, action, now); err != nil {
			return err
		}
		s.step("%s: %s done", name, action)
	}
	return nil
}

// Kubeconfig is the path of the administrator's kubeconfig.
func (s *Sandbox) Kubeconfig() (string, error) {
	if _, err := s.loadUp(); err != nil {
		return "", err
	}
	return s.layout.Kubeconfig(), nil
}

// supervisorLog is the name under which `logs` shows the supervisor's own log.
const supervisorLog = supervisor.LogName

// Log is the path of a component's log. It is there after the component, and
// the sandbox, are gone.
func (s *Sandbox) Log(name string) (string, error) {
	known := []string{
		components.Etcd, components.APIServer, components.KCM, components.Scheduler, components.Containerd,
		components.Kubelet, components.Proxy, components.Kwok, supervisorLog,
	}
	if !slices.Contains(known, name) {
		return "", fmt.Errorf("there is no component %q; there are %v", name, known)
	}
	return s.layout.Log(name), nil
}

// Load imports image archives into the node's containerd.
func (s *Sandbox) Load(ctx context.Context, archives []string, progress func(archive string, read, total int64)) error {
	recorded, err := s.loadUp()
	if err != nil {
		return err
	}
	if !hasContainerd(*recorded) {
		return errors.New("this sandbox is a control plane without a node: there is nothing to load images into")
	}
	runtime, err := cri.Dial(s.layout.ContainerdSocket())
	if err != nil {
		return err
	}
	defer runtime.Close()
	store := containerd.Store{Socket: s.layout.ContainerdSocket(), Client: runtime}
	for _, archive := range archives {
		loaded, err := store.Load(ctx, archive, func(read, total int64) { progress(archive, read, total) })
		if err != nil {
			return err
		}
		s.tellLoaded(loaded)
	}
	return nil
}

func (s *Sandbox) tellLoaded(loaded []containerd.Loaded) {
	for _, image := range loaded {
		if image.Already {
			s.step("%s is there already", image.Name)
		} else {
			s.step("%s is loaded", image.Name)
		}
	}
}

func hasContainerd(recorded state.State) bool {
	return slices.ContainsFunc(recorded.Components, func(c state.Component) bool {
		return c.Name == components.Containerd && c.State == state.Running
	})
}
