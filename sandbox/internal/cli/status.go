package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ompipe/ompipe/sandbox/internal/cluster"
	"github.com/ompipe/ompipe/sandbox/internal/state"
	"github.com/spf13/cobra"
)

func status(open opener) *cobra.Command {
	output := "text"
	command := &cobra.Command{
		Use:   "status",
		Short: "Show the sandbox and its components; fails when something is not well",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			sandbox, _, err := open()
			if err != nil {
				return err
			}
			found, err := sandbox.Status()
			if err != nil {
				return err
			}
			if err := print(found, output); err != nil {
				return err
			}
			if !found.Healthy {
				return errUnhealthy
			}
			return nil
		},
	}
	command.Flags().StringVarP(&output, "output", "o", output, "text or json")
	return command
}

func print(found *cluster.Status, output string) error {
	switch output {
	case "json":
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(found)
	case "text":
		return describe(os.Stdout, found)
	}
	return fmt.Errorf("--output %q: it is text or json", output)
}

func describe(to io.Writer, found *cluster.Status) error {
	node := "none (control plane only)"
	if found.Node != "" {
		node = found.Node
	}
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "directory\t%s\nkubeconfig\t%s\nAPI server\t%s\nnode\t%s\nthis machine, for pods\t%s\nmemory\t%d MiB\n\n",
		found.Dir, found.Kubeconfig, found.APIServer, node, found.HostAddress, found.MemoryKiB>>10)
	fmt.Fprintln(table, "COMPONENT\tSTATE\tPID\tMEMORY\tSINCE")
	for _, component := range found.Components {
		fmt.Fprintln(table, row(component))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, component := range found.Components {
		if component.State == state.Dead {
			fmt.Fprintf(to, "\n%s ended: %s; the end of its log, %s:\n%s\n", component.Name, component.Exit, component.Log, component.LogTail)
		}
	}
	return nil
}

func row(component cluster.ComponentStatus) string {
	pid, memory := "-", "-"
	if component.State == state.Running {
		pid, memory = fmt.Sprint(component.Process.PID), fmt.Sprintf("%d MiB", component.MemoryKiB>>10)
	}
	since := time.Since(component.Since).Round(time.Second).String()
	return strings.Join([]string{component.Name, string(component.State), pid, memory, since}, "\t")
}
