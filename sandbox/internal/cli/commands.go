package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/ompipe/ompipe/sandbox/internal/logfile"
	"github.com/ompipe/ompipe/sandbox/internal/supervisor"
	"github.com/spf13/cobra"
)

func down(open opener) *cobra.Command {
	purge := false
	command := &cobra.Command{
		Use:   "down",
		Short: "Stop the sandbox and remove its cluster; loaded images and logs stay",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			sandbox, printer, err := open()
			if err != nil {
				return err
			}
			if err := sandbox.Down(command.Context(), purge); err != nil {
				return err
			}
			printer.Step("the sandbox is down")
			return nil
		},
	}
	command.Flags().BoolVar(&purge, "purge", false, "remove images and logs too")
	return command
}

func kubeconfig(open opener) *cobra.Command {
	return &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print the path of the administrator's kubeconfig",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			sandbox, _, err := open()
			if err != nil {
				return err
			}
			path, err := sandbox.Kubeconfig()
			if err != nil {
				return err
			}
			fmt.Println(path)
			return nil
		},
	}
}

func load(open opener) *cobra.Command {
	return &cobra.Command{
		Use:   "load ARCHIVE...",
		Short: "Load images from docker or OCI archives, unless they are there",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(command *cobra.Command, archives []string) error {
			sandbox, printer, err := open()
			if err != nil {
				return err
			}
			return sandbox.Load(command.Context(), archives, printer.Transferred)
		},
	}
}

func actions(open opener) []*cobra.Command {
	described := map[supervisor.Action]string{
		supervisor.ActionStart:   "Start components that do not run",
		supervisor.ActionStop:    "Stop components; with --now they are killed",
		supervisor.ActionRestart: "Stop components and start them again",
	}
	var commands []*cobra.Command
	for action, short := range described {
		now := false
		command := &cobra.Command{
			Use:   string(action) + " COMPONENT...",
			Short: short,
			Args:  cobra.MinimumNArgs(1),
			RunE: func(command *cobra.Command, names []string) error {
				sandbox, _, err := open()
				if err != nil {
					return err
				}
				return sandbox.Act(command.Context(), action, names, now)
			},
		}
		if action != supervisor.ActionStart {
			command.Flags().BoolVar(&now, "now", false, "kill instead of asking")
		}
		commands = append(commands, command)
	}
	return commands
}

func logs(open opener) *cobra.Command {
	follow, tail := false, 0
	command := &cobra.Command{
		Use:   "logs COMPONENT",
		Short: "Print the log of a component, or of the supervisor",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			sandbox, _, err := open()
			if err != nil {
				return err
			}
			path, err := sandbox.Log(names[0])
			if err != nil {
				return err
			}
			if follow {
				return logfile.Follow(command.Context(), path, os.Stdout)
			}
			return logfile.Copy(path, tail, os.Stdout)
		},
	}
	command.Flags().BoolVarP(&follow, "follow", "f", false, "go on until interrupted")
	command.Flags().IntVar(&tail, "tail", 0, "only the last `lines`")
	return command
}

// kubectl takes every argument as it is: they are kubectl's.
func kubectl(open opener, programs Programs) *cobra.Command {
	return &cobra.Command{
		Use:                "kubectl ARGUMENT...",
		Short:              "Run the kubectl inside this binary on the sandbox ($OMPIPE_SANDBOX_DIR names another)",
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, arguments []string) error {
			sandbox, _, err := open()
			if err != nil {
				return err
			}
			path, err := sandbox.Kubeconfig()
			if err != nil {
				return err
			}
			if err := os.Setenv("KUBECONFIG", path); err != nil {
				return err
			}
			os.Args = append([]string{"kubectl"}, arguments...)
			programs["kubectl"]()
			return errors.New("kubectl returned")
		},
	}
}
