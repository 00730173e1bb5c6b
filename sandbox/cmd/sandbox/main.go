// Command sandbox runs a whole Kubernetes on this machine. Called by another
// name it is one of the programs of that Kubernetes: the supervisor starts its
// components so.
package main

import (
	"os"
	"path/filepath"

	"github.com/ompipe/ompipe/sandbox/internal/cli"
	"github.com/ompipe/ompipe/sandbox/internal/kubernetes"
)

func main() {
	programs := kubernetes.Programs()
	if program, ok := programs[filepath.Base(os.Args[0])]; ok {
		program()
		return
	}
	os.Exit(cli.Run(programs))
}
