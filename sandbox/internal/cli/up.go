package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/ompipe/ompipe/sandbox/internal/cluster"
	"github.com/ompipe/ompipe/sandbox/internal/components"
	"github.com/ompipe/ompipe/sandbox/internal/kubelet"
	"github.com/ompipe/ompipe/sandbox/internal/layout"
	"github.com/ompipe/ompipe/sandbox/internal/progress"
	"github.com/ompipe/ompipe/sandbox/internal/state"
	"github.com/ompipe/ompipe/sandbox/internal/supervisor"
	"github.com/spf13/cobra"
)

// wanted is what the flags of `up` say.
type wanted struct {
	controlPlaneOnly bool
	fakeNodes        int
	kubeletConfig    string
	extra            map[string]*[]string
	patience         time.Duration
}

func up(open opener) *cobra.Command {
	want := wanted{extra: map[string]*[]string{}}
	command := &cobra.Command{
		Use:   "up",
		Short: "Start the sandbox, or leave it as it is when it is up",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			sandbox, printer, err := open()
			if err != nil {
				return err
			}
			return bringUp(command.Context(), sandbox, printer, want)
		},
	}
	flags := command.Flags()
	flags.BoolVar(&want.controlPlaneOnly, "control-plane-only", false, "no node; always so without root")
	flags.IntVar(&want.fakeNodes, "fake-nodes", 0, "`number` of nodes that only pretend to run pods (kwok)")
	flags.StringVar(&want.kubeletConfig, "kubelet-config", "", "`file` with YAML to merge over the KubeletConfiguration")
	flags.DurationVar(&want.patience, "timeout", 2*time.Minute, "how long the start may take")
	for _, name := range []string{components.APIServer, components.KCM, components.Scheduler} {
		want.extra[name] = flags.StringArray(name+"-arg", nil, "further `NAME=VALUE` flag of the "+name+", repeatable")
	}
	return command
}

func bringUp(ctx context.Context, sandbox *cluster.Sandbox, printer *progress.Printer, want wanted) error {
	options, err := want.options(printer)
	if err != nil {
		return err
	}
	if err := sandbox.Up(ctx, options, want.patience); err != nil {
		return err
	}
	up, err := sandbox.Status()
	if err != nil {
		return err
	}
	printer.Step("ready, %d MiB of memory", up.MemoryKiB>>10)
	fmt.Printf("export KUBECONFIG=%s\n", up.Kubeconfig)
	return nil
}

func (w wanted) options(printer *progress.Printer) (state.Options, error) {
	options := state.Options{FakeNodes: w.fakeNodes, Node: !w.controlPlaneOnly && os.Geteuid() == 0}
	if !options.Node && !w.controlPlaneOnly {
		printer.Step("not root: the control plane alone; pods will stay pending")
	}
	for name, given := range w.extra {
		if len(*given) > 0 {
			if options.Extra == nil {
				options.Extra = map[string][]string{}
			}
			options.Extra[name] = *given
		}
	}
	if w.kubeletConfig == "" {
		return options, nil
	}
	content, err := os.ReadFile(w.kubeletConfig)
	if err != nil {
		return options, fmt.Errorf("--kubelet-config: %w", err)
	}
	if _, err := kubelet.Parse(content); err != nil {
		return options, fmt.Errorf("--kubelet-config %s: %w", w.kubeletConfig, err)
	}
	options.KubeletConfig = string(content)
	return options, nil
}

// supervise is what `up` starts; nobody types it.
func supervise(dir *string) *cobra.Command {
	settings := supervisor.Settings{}
	command := &cobra.Command{
		Use:    supervisor.Command,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) (err error) {
			if settings.Layout, err = layout.New(*dir); err != nil {
				return err
			}
			return supervisor.Run(settings)
		},
	}
	command.Flags().StringVar(&settings.Kwok, "kwok", "", "the kwok binary")
	command.Flags().DurationVar(&settings.Patience, "timeout", time.Minute, "how long the start may take")
	return command
}
