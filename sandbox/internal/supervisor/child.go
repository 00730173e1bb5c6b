package supervisor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/ompipe/ompipe/sandbox/internal/components"
	"github.com/ompipe/ompipe/sandbox/internal/logfile"
	"github.com/ompipe/ompipe/sandbox/internal/process"
	"github.com/ompipe/ompipe/sandbox/internal/state"
)

// child is one component and the process that it runs as at present.
type child struct {
	component components.Component
	record    state.Component
	// ended is closed when the present process was reaped.
	ended chan struct{}
}

func newChild(component components.Component, log string) *child {
	return &child{
		component: component,
		record:    state.Component{Name: component.Name, State: state.Pending, Since: time.Now(), Log: log},
	}
}

func (c *child) enter(phase state.Phase) {
	c.record.State, c.record.Since = phase, time.Now()
}

// command prepares the process. A program of this binary is the binary itself
// under the program's name; /proc/self/exe is right even after a rebuild
// replaced the file.
func (c *child) command(mark, workDir string) *exec.Cmd {
	path := "/proc/self/exe"
	if c.component.Path != "" {
		path = c.component.Path
	}
	command := exec.Command(path, c.component.Arguments...)
	command.Args[0] = c.component.Program
	command.Dir = workDir
	command.Env = append(os.Environ(), mark)
	return command
}

// start runs the component and calls reaped when its process has ended.
func (c *child) start(launch func(*exec.Cmd) error, mark, workDir string, reaped func(*child, *os.ProcessState)) error {
	log, err := logfile.Open(c.record.Log, c.component.Program)
	if err != nil {
		return err
	}
	defer log.Close()
	command := c.command(mark, workDir)
	command.Stdout, command.Stderr = log, log
	if err := launch(command); err != nil {
		return fmt.Errorf("start %s: %w", c.component.Name, err)
	}
	identity, err := process.Of(command.Process.Pid)
	if err != nil {
		return fmt.Errorf("identify %s: %w", c.component.Name, err)
	}
	c.record.Process, c.record.Exit = &identity, ""
	c.enter(state.Running)
	c.ended = make(chan struct{})
	go func(ended chan struct{}) {
		_ = command.Wait()
		reaped(c, command.ProcessState)
		close(ended)
	}(c.ended)
	return nil
}

// wait returns when the process has been reaped.
func (c *child) wait(ctx context.Context) error {
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// searchPath makes programs found that are not on an ordinary user's PATH:
// runc, nft and iptables.
func searchPath(path string) string {
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"} {
		if !strings.Contains(":"+path+":", ":"+dir+":") {
			path += ":" + dir
		}
	}
	return strings.TrimPrefix(path, ":")
}
