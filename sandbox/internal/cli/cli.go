// Package cli is what users type.
package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"

	"github.com/ompipe/ompipe/sandbox/internal/cluster"
	"github.com/ompipe/ompipe/sandbox/internal/layout"
	"github.com/ompipe/ompipe/sandbox/internal/progress"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// Programs are the main functions of the programs inside this binary.
type Programs map[string]func()

// errUnhealthy makes `status` fail after it has said everything.
var errUnhealthy = errors.New("the sandbox is not healthy")

// Run carries out the command line and returns the exit code.
func Run(programs Programs) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	err := root(programs).ExecuteContext(ctx)
	if err != nil {
		return 1
	}
	return 0
}

func root(programs Programs) *cobra.Command {
	command := &cobra.Command{
		Use:   "sandbox",
		Short: "A whole Kubernetes on this machine, from one binary",
		Long: "Starts a real Kubernetes: etcd, API server, controllers, scheduler and, as root, a node with\n" +
			"kubelet and containerd. Everything of a sandbox is in its directory.",
		SilenceUsage: true,
	}
	dir := os.Getenv(layout.DirVariable)
	if dir == "" {
		dir = layout.DefaultDir
	}
	command.PersistentFlags().StringVar(&dir, "dir", dir, "directory of the sandbox, also $"+layout.DirVariable)
	open := func() (*cluster.Sandbox, *progress.Printer, error) {
		printer := progress.New(os.Stderr)
		sandbox, err := cluster.Open(dir, printer.Step)
		return sandbox, printer, err
	}
	command.AddCommand(
		up(open), down(open), status(open), kubeconfig(open), load(open), logs(open), kubectl(open, programs), supervise(&dir),
	)
	command.AddCommand(actions(open)...)
	return command
}

// opener names the sandbox that the command is about.
type opener func() (*cluster.Sandbox, *progress.Printer, error)
