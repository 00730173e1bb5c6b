package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrGone says that the identified process no longer runs.
var ErrGone = errors.New("the process is gone")

// Signal sends sig to this very process. The process is pinned by a file
// descriptor before its identity is checked, so its pid cannot pass to another
// process in between.
func (i Identity) Signal(sig unix.Signal) error {
	pinned, err := i.pin()
	if err != nil {
		return err
	}
	defer unix.Close(pinned)
	return signalPinned(pinned, i.PID, sig)
}

func (i Identity) pin() (int, error) {
	if i.PID <= 1 {
		return 0, fmt.Errorf("refuse to touch process %d", i.PID)
	}
	pinned, err := unix.PidfdOpen(i.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return 0, ErrGone
	}
	if err != nil {
		return 0, fmt.Errorf("open process %d: %w", i.PID, err)
	}
	if !i.Alive() {
		unix.Close(pinned)
		return 0, ErrGone
	}
	return pinned, nil
}

func signalPinned(pinned, pid int, sig unix.Signal) error {
	err := unix.PidfdSendSignal(pinned, sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return ErrGone
	}
	if err != nil {
		return fmt.Errorf("send %v to process %d: %w", sig, pid, err)
	}
	return nil
}

// Stop asks the process to end, kills it after grace, and returns when it is
// gone. A process that is already gone is no error. No grace kills at once.
func (i Identity) Stop(ctx context.Context, grace time.Duration) error {
	pinned, err := i.pin()
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(pinned)
	if grace > 0 {
		if ended, err := end(ctx, pinned, i.PID, unix.SIGTERM, grace); ended || err != nil {
			return err
		}
	}
	return kill(ctx, pinned, i.PID)
}

// killPatience is how long the kernel may take to end a killed process; only
// one that hangs in the kernel needs longer.
const killPatience = 20 * time.Second

func kill(ctx context.Context, pinned, pid int) error {
	ended, err := end(ctx, pinned, pid, unix.SIGKILL, killPatience)
	if err == nil && !ended {
		return fmt.Errorf("process %d did not end within %v of SIGKILL", pid, killPatience)
	}
	return err
}

func end(ctx context.Context, pinned, pid int, sig unix.Signal, patience time.Duration) (bool, error) {
	if err := signalPinned(pinned, pid, sig); err != nil {
		return errors.Is(err, ErrGone), ignoreGone(err)
	}
	return waitPinned(ctx, pinned, patience)
}

func ignoreGone(err error) error {
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}

// pollSlice bounds how long a cancelled context goes unnoticed.
const pollSlice = 100 * time.Millisecond

// waitPinned waits until the process ends: a pidfd becomes readable then.
func waitPinned(ctx context.Context, pinned int, patience time.Duration) (bool, error) {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		watched := []unix.PollFd{{Fd: int32(pinned), Events: unix.POLLIN}}
		ready, err := unix.Poll(watched, int(pollSlice.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false, fmt.Errorf("wait for a process: %w", err)
		}
		if ready > 0 {
			return true, nil
		}
	}
	return false, nil
}

// StopAll kills the processes; itself is never among them.
func StopAll(ctx context.Context, processes []Identity) error {
	var failures []error
	for _, one := range processes {
		if one.PID == os.Getpid() {
			continue
		}
		failures = append(failures, one.Stop(ctx, 0))
	}
	return errors.Join(failures...)
}
