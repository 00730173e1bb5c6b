package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/ompipe/ompipe/sandbox/internal/components"
	"github.com/ompipe/ompipe/sandbox/internal/layout"
	"github.com/ompipe/ompipe/sandbox/internal/process"
	"github.com/ompipe/ompipe/sandbox/internal/state"
	"golang.org/x/sys/unix"
)

// Settings is what the starting process tells the supervisor.
type Settings struct {
	Layout layout.Layout
	// Kwok is the kwok binary, needed with fake nodes.
	Kwok string
	// Patience bounds the boot.
	Patience time.Duration
}

// Run is the life of the supervisor process. It returns when the sandbox is
// down again.
func Run(settings Settings) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	// A starter that is gone must not end the supervisor.
	signal.Ignore(unix.SIGPIPE, unix.SIGHUP)
	s, err := load(settings)
	if err != nil {
		return err
	}
	err = s.live(ctx, settings.Patience)
	closing, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	return errors.Join(err, s.close(closing))
}

func load(settings Settings) (*Supervisor, error) {
	recorded, err := state.Load(settings.Layout.StateFile())
	if err != nil {
		return nil, err
	}
	if recorded == nil {
		return nil, fmt.Errorf("no %s: this command is for `sandbox up` to call", settings.Layout.StateFile())
	}
	ourselves, err := process.Of(os.Getpid())
	if err != nil {
		return nil, err
	}
	recorded.Supervisor = &ourselves
	if err := os.Setenv("PATH", searchPath(os.Getenv("PATH"))); err != nil {
		return nil, err
	}
	return &Supervisor{
		layout: settings.Layout,
		state:  *recorded,
		report: &Report{to: os.NewFile(ReportFD, "report")},
		fail:   func(error) {},
		cluster: components.Cluster{
			Layout: settings.Layout, Node: recorded.Options.Node, Extra: recorded.Options.Extra, KwokPath: settings.Kwok,
		},
	}, nil
}

// live brings the cluster up and then waits for the end.
func (s *Supervisor) live(ctx context.Context, patience time.Duration) error {
	control, err := s.listen()
	if err != nil {
		return err
	}
	defer control.close()
	if err := s.bootWithin(ctx, patience); err != nil {
		s.report.Fail(err)
		return err
	}
	if err := s.update(func(recorded *state.State) { recorded.Ready = true }); err != nil {
		return err
	}
	s.report.Ready()
	select {
	case <-ctx.Done():
	case <-control.shutdown:
	}
	return nil
}

// bootWithin ends the boot at the first death, at a signal, or when it takes
// too long.
func (s *Supervisor) bootWithin(ctx context.Context, patience time.Duration) error {
	limited, cancel := context.WithTimeoutCause(ctx, patience,
		fmt.Errorf("not up after %v (a slow machine may need a longer --timeout); logs are in %s", patience, s.layout.LogDir()))
	defer cancel()
	booting, fail := context.WithCancelCause(limited)
	defer fail(nil)
	s.mutex.Lock()
	s.fail = fail
	s.mutex.Unlock()
	return s.boot(booting)
}

// LogName is the name of the supervisor's own log.
const LogName = "supervisor"

// lockFile serialises the choice of networks among all sandboxes of the
// machine.
func lockFile(l layout.Layout) string {
	return filepath.Join(filepath.Dir(l.Run), "networks.lock")
}
