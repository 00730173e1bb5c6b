package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ompipe/ompipe/sandbox/internal/debian"
	"github.com/ompipe/ompipe/sandbox/internal/kwok"
	"github.com/ompipe/ompipe/sandbox/internal/state"
	"github.com/ompipe/ompipe/sandbox/internal/supervisor"
)

// Up brings the sandbox up, or leaves it as it is when it is up with the same
// options.
func (s *Sandbox) Up(ctx context.Context, options state.Options, patience time.Duration) error {
	if err := s.layout.Create(); err != nil {
		return err
	}
	return s.exclusively(ctx, func() error {
		recorded, err := state.Load(s.layout.StateFile())
		if err != nil {
			return err
		}
		if recorded != nil && recorded.SupervisorAlive() {
			return s.checkSame(recorded, options)
		}
		if err := s.forget(ctx, recorded); err != nil {
			return err
		}
		return s.bringUp(ctx, options, patience)
	})
}

// checkSame accepts a sandbox that is up as wanted, and says what to do about
// any other.
func (s *Sandbox) checkSame(recorded *state.State, options state.Options) error {
	if !recorded.Options.Equal(options) {
		return fmt.Errorf("the sandbox in %s is up with other options: take it down first (`sandbox down --dir %[1]s`)", s.layout.Dir)
	}
	if dead := deadComponents(*recorded); len(dead) > 0 {
		return fmt.Errorf("the sandbox in %s is up, but %s: `sandbox start NAME` starts a component again, `sandbox status` says more",
			s.layout.Dir, strings.Join(dead, ", "))
	}
	s.step("the sandbox is up already")
	return nil
}

func deadComponents(recorded state.State) []string {
	var dead []string
	for _, component := range recorded.Components {
		if component.State != state.Running {
			dead = append(dead, fmt.Sprintf("%s is %s", component.Name, component.State))
		}
	}
	return dead
}

// forget removes what a crashed supervisor left.
func (s *Sandbox) forget(ctx context.Context, recorded *state.State) error {
	if recorded != nil {
		s.step("cleaning up after a supervisor that died")
	}
	if err := s.cleanUp(ctx, recorded); err != nil {
		return fmt.Errorf("clean up after an earlier sandbox: %w", err)
	}
	return s.layout.Create()
}

func (s *Sandbox) bringUp(ctx context.Context, options state.Options, patience time.Duration) error {
	if options.Node {
		if err := s.installMissing(ctx); err != nil {
			return err
		}
	}
	settings := supervisor.Settings{Layout: s.layout, Patience: patience}
	if options.FakeNodes > 0 {
		path, err := kwok.Install(ctx, s.step)
		if err != nil {
			return err
		}
		settings.Kwok = path
	}
	fresh := state.State{ID: s.layout.ID, CreatedAt: time.Now(), Options: options}
	if err := fresh.Save(s.layout.StateFile()); err != nil {
		return err
	}
	err := supervisor.Launch(ctx, settings, options.Node, s.step)
	if err == nil {
		return nil
	}
	return errors.Join(err, s.afterFailure(ctx))
}

// afterFailure leaves nothing behind, also when it was an interrupt that ended
// the start.
func (s *Sandbox) afterFailure(ctx context.Context) error {
	recorded, err := state.Load(s.layout.StateFile())
	return errors.Join(err, s.cleanUp(context.WithoutCancel(ctx), recorded))
}

func (s *Sandbox) installMissing(ctx context.Context) error {
	missing := debian.FindMissing()
	if len(missing) == 0 {
		return nil
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("the node needs programs that are missing; run as root: %s", debian.InstallCommand(missing))
	}
	for _, one := range missing {
		s.step("installing %s (%s)", one.Package, one.Why)
	}
	return debian.Install(ctx, missing)
}
