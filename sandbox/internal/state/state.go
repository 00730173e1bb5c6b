// Package state records what was started in a sandbox.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ompipe/ompipe/sandbox/internal/address"
	"github.com/ompipe/ompipe/sandbox/internal/process"
)

// Options are what a user asked `up` for; the same options again change
// nothing.
type Options struct {
	// Node is false for a control plane without a node.
	Node      bool `json:"node"`
	FakeNodes int  `json:"fakeNodes"`
	// KubeletConfig is YAML merged over the kubelet's configuration.
	KubeletConfig string `json:"kubeletConfig,omitempty"`
	// Extra holds flags, NAME=VALUE, by component.
	Extra map[string][]string `json:"extra,omitempty"`
}

// Phase is what a component does.
type Phase string

// Phases of a component.
const (
	Pending Phase = "pending"
	Running Phase = "running"
	// Stopped is on a user's request.
	Stopped Phase = "stopped"
	// Dead is by itself.
	Dead Phase = "dead"
)

// Component is the record of one component.
type Component struct {
	Name  string    `json:"name"`
	State Phase     `json:"state"`
	Since time.Time `json:"since"`
	// Process is the last one that was started.
	Process *process.Identity `json:"process,omitempty"`
	// Exit says how a dead component ended.
	Exit string `json:"exit,omitempty"`
	Log  string `json:"log"`
}

// State is the record of a sandbox.
type State struct {
	ID        string            `json:"id"`
	CreatedAt time.Time         `json:"createdAt"`
	Options   Options           `json:"options"`
	Networks  address.Networks  `json:"networks"`
	Port      int               `json:"apiServerPort"`
	Versions  map[string]string `json:"versions"`
	// Ready is set once `up` has succeeded.
	Ready      bool              `json:"ready"`
	Supervisor *process.Identity `json:"supervisor,omitempty"`
	Components []Component       `json:"components"`
}

// Load reads the record in file. It returns nil when there is none.
func Load(file string) (*State, error) {
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the sandbox's state: %w", err)
	}
	var loaded State
	if err := json.Unmarshal(content, &loaded); err != nil {
		return nil, fmt.Errorf("read the sandbox's state in %s: %w (`sandbox down` removes it)", file, err)
	}
	return &loaded, nil
}

// Save writes the record to file in one step: a reader, or a crash, sees the
// old record or the new one and never a part.
func (s State) Save(file string) error {
	content, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write the sandbox's state: %w", err)
	}
	next, err := os.CreateTemp(filepath.Dir(file), ".state-*")
	if err != nil {
		return fmt.Errorf("write the sandbox's state: %w", err)
	}
	defer os.Remove(next.Name())
	_, err = next.Write(append(content, '\n'))
	if err := errors.Join(err, next.Close()); err != nil {
		return fmt.Errorf("write the sandbox's state: %w", err)
	}
	return os.Rename(next.Name(), file)
}

// Processes are the recorded ones, the supervisor's first: it must not see its
// children end.
func (s State) Processes() []process.Identity {
	var all []process.Identity
	if s.Supervisor != nil {
		all = append(all, *s.Supervisor)
	}
	for _, component := range s.Components {
		if component.Process != nil {
			all = append(all, *component.Process)
		}
	}
	return all
}

// SupervisorAlive tells whether somebody still looks after the components.
func (s State) SupervisorAlive() bool {
	return s.Supervisor != nil && s.Supervisor.Alive()
}

// Equal tells whether two requests ask for the same cluster.
func (o Options) Equal(other Options) bool {
	ours, err1 := json.Marshal(o)
	theirs, err2 := json.Marshal(other)
	return err1 == nil && err2 == nil && string(ours) == string(theirs)
}
