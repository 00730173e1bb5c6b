package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ompipe/ompipe/sandbox/internal/state"
	"github.com/ompipe/ompipe/sandbox/internal/supervisor"
)

// downPatience bounds an orderly end; what is left is killed.
const downPatience = 45 * time.Second

// Down takes the sandbox down and removes the cluster. The image store stays
// for the next one; purge removes everything.
func (s *Sandbox) Down(ctx context.Context, purge bool) error {
	there, err := s.exists()
	if err != nil {
		return err
	}
	if !there {
		// The directory may have been deleted under a sandbox that runs.
		return s.cleanUp(ctx, nil)
	}
	return s.exclusively(ctx, func() error {
		recorded, err := state.Load(s.layout.StateFile())
		if recorded != nil && recorded.SupervisorAlive() {
			s.step("stopping the components")
			s.endOrderly(ctx, recorded)
		}
		if err := errors.Join(err, s.cleanUp(ctx, recorded)); err != nil {
			return fmt.Errorf("the sandbox is not wholly removed: %w", err)
		}
		if purge {
			return os.RemoveAll(s.layout.Dir)
		}
		return nil
	})
}

// endOrderly lets the supervisor take pods and components down. Whatever it
// does not manage is killed afterwards, so its failures are only told.
func (s *Sandbox) endOrderly(ctx context.Context, recorded *state.State) {
	limited, cancel := context.WithTimeout(ctx, downPatience)
	defer cancel()
	if err := supervisor.Connect(s.layout).Shutdown(limited); err != nil {
		s.step("the supervisor does not answer (%v) and is killed", err)
		return
	}
	if err := recorded.Supervisor.Wait(limited); err != nil {
		s.step("the supervisor does not end (%v) and is killed", err)
	}
}
