package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ompipe/ompipe/sandbox/internal/address"
	"github.com/ompipe/ompipe/sandbox/internal/await"
	"github.com/ompipe/ompipe/sandbox/internal/cgroup"
	"github.com/ompipe/ompipe/sandbox/internal/cni"
	"github.com/ompipe/ompipe/sandbox/internal/components"
	"github.com/ompipe/ompipe/sandbox/internal/containerd"
	"github.com/ompipe/ompipe/sandbox/internal/cri"
	"github.com/ompipe/ompipe/sandbox/internal/debian"
	"github.com/ompipe/ompipe/sandbox/internal/images"
	"github.com/ompipe/ompipe/sandbox/internal/lock"
	"github.com/ompipe/ompipe/sandbox/internal/mounts"
	"github.com/ompipe/ompipe/sandbox/internal/network"
	"github.com/ompipe/ompipe/sandbox/internal/state"
	"golang.org/x/sync/errgroup"
)

// createNetwork picks free networks and takes them, which no other sandbox may
// do in between.
func (s *Supervisor) createNetwork() error {
	held, err := lock.Take(context.Background(), lockFile(s.layout), func() {})
	if err != nil {
		return err
	}
	defer held.Release()
	used, err := network.Used()
	if err != nil {
		return err
	}
	networks, err := address.FreeNetworks(used)
	if err != nil {
		return err
	}
	s.node, err = network.Create(s.layout.Link(), networks)
	s.cluster.Networks = networks
	return err
}

func (s *Supervisor) prepareNode() error {
	if err := mounts.SetUp(s.layout); err != nil {
		return err
	}
	if err := cgroup.Create(s.layout.Cgroup()); err != nil {
		return err
	}
	if err := cni.Write(s.layout.CNIConfig(), s.cluster.Networks.Pods); err != nil {
		return err
	}
	if err := s.configureContainerd(); err != nil {
		return err
	}
	if err := s.cluster.WriteKubeletConfig([]byte(s.state.Options.KubeletConfig)); err != nil {
		return err
	}
	return s.cluster.WriteProxyConfig()
}

func (s *Supervisor) configureContainerd() error {
	plugins, err := debian.Plugins()
	if err != nil {
		return err
	}
	return containerd.Write(containerd.Settings{
		Layout: s.layout, Plugins: plugins, Snapshotter: containerd.Snapshotter(s.layout.Dir),
	})
}

// bootNode returns when pods can be scheduled to the node.
func (s *Supervisor) bootNode(ctx context.Context, apiServes <-chan struct{}) error {
	if err := s.startAll(components.Containerd); err != nil {
		return err
	}
	runtime, err := s.connectRuntime(ctx)
	if err != nil {
		return err
	}
	defer runtime.Close()
	if err := errors.Join(s.forwardAPI(), s.serveNames()); err != nil {
		return err
	}
	select {
	case <-apiServes:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := s.startAll(components.Kubelet, components.Proxy); err != nil {
		return err
	}
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return s.loadBuiltinImages(ctx, runtime) })
	work.Go(func() error { return s.awaitNode(ctx) })
	return work.Wait()
}

// connectRuntime waits for containerd and removes pods of an earlier life: the
// store that is kept remembers them after a crash.
func (s *Supervisor) connectRuntime(ctx context.Context) (*cri.Client, error) {
	runtime, err := cri.Dial(s.layout.ContainerdSocket())
	if err != nil {
		return nil, err
	}
	version := ""
	err = await.Until(ctx, "containerd", func(ctx context.Context) (err error) {
		version, err = runtime.Version(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.report.Step("containerd %s serves", version)
	if err := runtime.RemovePods(ctx); err != nil {
		return nil, err
	}
	return runtime, s.update(func(recorded *state.State) { recorded.Versions["containerd"] = version })
}

func (s *Supervisor) awaitNode(ctx context.Context) error {
	err := await.Until(ctx, "the node", func(ctx context.Context) error {
		return s.api.NodeReady(ctx, components.NodeName)
	})
	if err == nil {
		s.report.Step("node %s is ready", components.NodeName)
	}
	return err
}

func (s *Supervisor) loadBuiltinImages(ctx context.Context, runtime *cri.Client) error {
	busybox, applets, err := debian.Busybox(ctx)
	if err != nil {
		return err
	}
	store := containerd.Store{Socket: s.layout.ContainerdSocket(), Client: runtime}
	for _, image := range images.Builtin(busybox, applets) {
		if err := s.loadBuiltinImage(ctx, store, image); err != nil {
			return fmt.Errorf("image %s: %w", image.Name, err)
		}
	}
	return nil
}

func (s *Supervisor) loadBuiltinImage(ctx context.Context, store containerd.Store, image images.Image) error {
	archive, err := image.Archive()
	if err != nil {
		return err
	}
	file := filepath.Join(s.layout.Run, "builtin-image.tar")
	defer os.Remove(file)
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		return err
	}
	_, err = store.Load(ctx, file, func(int64, int64) {})
	return err
}

// removePods takes pods down while containerd still runs.
func (s *Supervisor) removePods(ctx context.Context) error {
	runtime, err := cri.Dial(s.layout.ContainerdSocket())
	if err != nil {
		return err
	}
	defer runtime.Close()
	return runtime.RemovePods(ctx)
}
