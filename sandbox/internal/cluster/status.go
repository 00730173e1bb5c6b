package cluster

import (
	"fmt"
	"net/netip"

	"github.com/ompipe/ompipe/sandbox/internal/address"
	"github.com/ompipe/ompipe/sandbox/internal/components"
	"github.com/ompipe/ompipe/sandbox/internal/logfile"
	"github.com/ompipe/ompipe/sandbox/internal/state"
)

// Status is what there is to know about a sandbox that is up.
type Status struct {
	Dir string `json:"dir"`
	// Healthy is false when the sandbox is not ready, or a component does not run.
	Healthy bool `json:"healthy"`
	Ready   bool `json:"ready"`
	// Kubeconfig is the administrator's.
	Kubeconfig string `json:"kubeconfig"`
	APIServer  string `json:"apiServer"`
	// HostAddress is where pods reach servers of this machine.
	HostAddress netip.Addr `json:"hostAddress"`
	// Node is the name of the real node, empty for a control plane alone.
	Node string `json:"node,omitempty"`
	// ContainerdSocket is where the node's containerd listens, empty for a
	// control plane alone.
	ContainerdSocket string            `json:"containerdSocket,omitempty"`
	Options          state.Options     `json:"options"`
	Networks         *address.Networks `json:"networks,omitempty"`
	Versions         map[string]string `json:"versions"`
	Components       []ComponentStatus `json:"components"`
	// MemoryKiB is what all components and the supervisor use of the machine's
	// memory, shared pages counted once.
	MemoryKiB int `json:"memoryKiB"`
}

// ComponentStatus is one component.
type ComponentStatus struct {
	state.Component
	MemoryKiB int `json:"memoryKiB"`
	// LogTail is the end of the log of a component that died.
	LogTail string `json:"logTail,omitempty"`
}

// Status looks at a sandbox that is up.
func (s *Sandbox) Status() (*Status, error) {
	recorded, err := s.loadUp()
	if err != nil {
		return nil, err
	}
	status := &Status{
		Dir: s.layout.Dir, Ready: recorded.Ready, Healthy: recorded.Ready,
		Kubeconfig: s.layout.Kubeconfig(), APIServer: fmt.Sprintf("https://127.0.0.1:%d", recorded.Port),
		HostAddress: netip.MustParseAddr("127.0.0.1"), Options: recorded.Options, Versions: recorded.Versions,
		MemoryKiB: recorded.Supervisor.MemoryKiB(),
	}
	if recorded.Options.Node {
		status.Node, status.HostAddress = components.NodeName, recorded.Networks.Host
		status.Networks, status.ContainerdSocket = &recorded.Networks, s.layout.ContainerdSocket()
	}
	for _, component := range recorded.Components {
		status.add(component)
	}
	return status, nil
}

// deadLogLines is how much of a dead component's log is shown.
const deadLogLines = 15

func (s *Status) add(recorded state.Component) {
	component := ComponentStatus{Component: recorded}
	if recorded.State == state.Running {
		component.MemoryKiB = recorded.Process.MemoryKiB()
	} else {
		s.Healthy = false
	}
	if recorded.State == state.Dead {
		tail, err := logfile.Tail(recorded.Log, deadLogLines)
		if err != nil {
			tail = err.Error()
		}
		component.LogTail = tail
	}
	s.MemoryKiB += component.MemoryKiB
	s.Components = append(s.Components, component)
}
