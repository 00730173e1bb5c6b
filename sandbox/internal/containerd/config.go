// Package containerd configures the sandbox's own containerd and loads images
// into it.
package containerd

import (
	"bytes"
	"fmt"
	"os"
	"text/template"

	"github.com/ompipe/ompipe/sandbox/internal/images"
	"github.com/ompipe/ompipe/sandbox/internal/layout"
)

// The names are configuration version 2, which containerd 1.6 needs and later
// ones convert.
var configuration = template.Must(template.New("containerd").Parse(`version = 2
root = {{printf "%q" .Layout.ContainerdRoot}}
state = {{printf "%q" .Layout.ContainerdState}}

[grpc]
  address = {{printf "%q" .Layout.ContainerdSocket}}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {{printf "%q" .Pause}}
  # Where root lacks CAP_SYS_RESOURCE, a lower score than containerd's own
  # cannot be set and no container would start.
  restrict_oom_score_adj = true
  # Below state, so that they go with it.
  netns_mounts_under_state_dir = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {{printf "%q" .Plugins}}
    conf_dir = {{printf "%q" .Layout.CNIConfig}}

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = {{printf "%q" .Snapshotter}}

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = {{printf "%q" .Layout.RuncRoot}}
`))

// Settings are what the configuration depends on.
type Settings struct {
	Layout layout.Layout
	// Plugins is where the CNI plugins are.
	Plugins     string
	Snapshotter string
}

// Config is the configuration file.
func Config(settings Settings) ([]byte, error) {
	var written bytes.Buffer
	values := struct {
		Settings
		Pause string
	}{settings, images.Pause}
	if err := configuration.Execute(&written, values); err != nil {
		return nil, fmt.Errorf("write containerd's configuration: %w", err)
	}
	return written.Bytes(), nil
}

// Write puts the configuration where containerd is told to look.
func Write(settings Settings) error {
	config, err := Config(settings)
	if err != nil {
		return err
	}
	return os.WriteFile(settings.Layout.ContainerdConfig(), config, 0o600)
}
