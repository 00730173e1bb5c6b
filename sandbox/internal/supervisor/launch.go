package supervisor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/ompipe/ompipe/sandbox/internal/logfile"
	"github.com/ompipe/ompipe/sandbox/internal/mounts"
	"github.com/ompipe/ompipe/sandbox/internal/process"
	"golang.org/x/sys/unix"
)

// Command is the hidden command that the binary runs a supervisor with.
const Command = "supervise"

// Launch starts a supervisor that outlives the calling process, and returns
// when the sandbox is ready or has failed. The supervisor of a node gets a
// mount namespace of its own.
func Launch(ctx context.Context, settings Settings, node bool, step func(format string, arguments ...any)) error {
	messages, theirs, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe for the supervisor's reports: %w", err)
	}
	defer messages.Close()
	command, err := launch(settings, node, theirs)
	theirs.Close()
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = command.Wait()
	}()
	stopped := context.AfterFunc(ctx, func() { _ = command.Process.Signal(unix.SIGTERM) })
	defer stopped()
	err = follow(messages, settings, step)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted; what was started is taken down")
	}
	return errors.Join(err, awaitEnd(ended, command.Process))
}

func launch(settings Settings, node bool, report *os.File) (*exec.Cmd, error) {
	log, err := logfile.Open(settings.Layout.Log(LogName), LogName)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := exec.Command("/proc/self/exe", Command,
		"--dir", settings.Layout.Dir, "--kwok", settings.Kwok, "--timeout", settings.Patience.String())
	command.Args[0] = "sandbox"
	command.Dir = "/"
	command.Env = append(os.Environ(), process.Mark(settings.Layout.ID))
	command.Stdout, command.Stderr = log, log
	command.ExtraFiles = []*os.File{report}
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if node {
		command.SysProcAttr.Cloneflags = mounts.Namespace
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	return command, nil
}

// follow passes the supervisor's reports on until it is ready or fails.
func follow(messages io.Reader, settings Settings, step func(format string, arguments ...any)) error {
	lines := bufio.NewScanner(messages)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var message Message
		if err := json.Unmarshal(lines.Bytes(), &message); err != nil {
			return fmt.Errorf("read a report of the supervisor: %w", err)
		}
		switch {
		case message.Ready:
			return nil
		case message.Failure != "":
			return errors.New(message.Failure)
		default:
			step("%s", message.Step)
		}
	}
	log := settings.Layout.Log(LogName)
	tail, err := logfile.Tail(log, tailLines)
	return errors.Join(fmt.Errorf("the supervisor ended without a word; the end of its log, %s:\n%s", log, tail), err)
}

// awaitEnd gives a supervisor that failed the time to take its components down.
func awaitEnd(ended <-chan struct{}, supervisor *os.Process) error {
	select {
	case <-ended:
		return nil
	case <-time.After(closePatience + killPatience):
		return supervisor.Kill()
	}
}

// killPatience is what killing the components may take after they had their
// time.
const killPatience = 15 * time.Second
