package supervisor

import (
	"context"
	"fmt"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/ompipe/ompipe/sandbox/internal/address"
	"github.com/ompipe/ompipe/sandbox/internal/await"
	"github.com/ompipe/ompipe/sandbox/internal/certs"
	"github.com/ompipe/ompipe/sandbox/internal/components"
	"github.com/ompipe/ompipe/sandbox/internal/dns"
	"github.com/ompipe/ompipe/sandbox/internal/forward"
	"github.com/ompipe/ompipe/sandbox/internal/kubeapi"
	"github.com/ompipe/ompipe/sandbox/internal/state"
	"golang.org/x/sync/errgroup"
)

// boot takes the sandbox from nothing to ready.
func (s *Supervisor) boot(ctx context.Context) error {
	if err := s.prepare(); err != nil {
		return err
	}
	if err := s.startAll(components.Etcd, components.APIServer); err != nil {
		return err
	}
	work, ctx := errgroup.WithContext(ctx)
	apiServes := make(chan struct{})
	work.Go(func() error { return s.bootControlPlane(ctx, apiServes) })
	if s.cluster.Node {
		work.Go(func() error { return s.bootNode(ctx, apiServes) })
	}
	return work.Wait()
}

// prepare chooses addresses and writes all files that components read.
func (s *Supervisor) prepare() error {
	if err := s.chooseAddresses(); err != nil {
		return err
	}
	if err := s.writeCertificates(); err != nil {
		return err
	}
	if s.cluster.Node {
		if err := s.prepareNode(); err != nil {
			return err
		}
	}
	if s.cluster.KwokPath != "" {
		if err := s.cluster.WriteKwokConfig(); err != nil {
			return err
		}
	}
	return s.listComponents()
}

func (s *Supervisor) chooseAddresses() error {
	port, err := address.FreePort()
	if err != nil {
		return err
	}
	s.cluster.Port = port
	if s.cluster.Node {
		err = s.createNetwork()
	} else {
		// Nothing is routed without a node; any network does for Services.
		s.cluster.Networks, err = address.FreeNetworks(nil)
	}
	if err != nil {
		return err
	}
	return s.update(func(recorded *state.State) {
		recorded.Port, recorded.Networks = port, s.cluster.Networks
		recorded.Versions = versions()
	})
}

// versions are those of the modules that this binary was built from.
func versions() map[string]string {
	found := map[string]string{}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return found
	}
	for _, module := range build.Deps {
		switch module.Path {
		case "k8s.io/kubernetes":
			found["kubernetes"] = module.Version
		case "go.etcd.io/etcd/server/v3":
			found["etcd"] = module.Version
		}
	}
	return found
}

func (s *Supervisor) writeCertificates() error {
	cluster := certs.Cluster{
		Port: s.cluster.Port, NodeName: components.NodeName,
		NodeAddress: s.cluster.Networks.Node, Service: s.cluster.Networks.KubernetesService(),
	}
	if err := cluster.Write(s.layout.PKI(), s.layout.Kubeconfig(), time.Now()); err != nil {
		return err
	}
	client, err := kubeapi.New(s.layout.Kubeconfig())
	s.api = client
	return err
}

func (s *Supervisor) listComponents() error {
	all, err := s.cluster.All()
	if err != nil {
		return err
	}
	return s.update(func(*state.State) {
		for _, component := range all {
			s.children = append(s.children, newChild(component, s.layout.Log(component.Name)))
		}
	})
}

func (s *Supervisor) startAll(names ...string) error {
	for _, name := range names {
		if err := s.Start(name); err != nil {
			return err
		}
	}
	return nil
}

// bootControlPlane closes apiServes when requests are answered, and returns
// when pods can be created.
func (s *Supervisor) bootControlPlane(ctx context.Context, apiServes chan<- struct{}) error {
	if err := await.Until(ctx, "the API server", s.api.Ready); err != nil {
		return err
	}
	s.report.Step("API server serves")
	if err := s.grant(ctx); err != nil {
		return err
	}
	close(apiServes)
	if err := s.startAll(components.KCM, components.Scheduler); err != nil {
		return err
	}
	if err := s.bootFakeNodes(ctx); err != nil {
		return err
	}
	return await.Until(ctx, "the namespace default", func(ctx context.Context) error {
		return s.api.NamespaceReady(ctx, "default")
	})
}

// forwardAPI makes the API server reachable from the node and from pods,
// although it listens on the host's 127.0.0.1 only.
func (s *Supervisor) forwardAPI() error {
	at := netip.AddrPortFrom(s.cluster.Networks.Node, uint16(s.cluster.Port))
	listener, err := s.node.Listen(at)
	if err != nil {
		return fmt.Errorf("listen at %v for the API server: %w", at, err)
	}
	go func() {
		if err := forward.Serve(listener, fmt.Sprintf("127.0.0.1:%d", s.cluster.Port)); err != nil {
			s.report.Log("forwarding to the API server ended: %v", err)
		}
	}()
	return nil
}

// serveNames resolves Services' names for pods.
func (s *Supervisor) serveNames() error {
	at := netip.AddrPortFrom(s.cluster.Networks.Node, dns.Port)
	connection, err := s.node.ListenPacket(at)
	if err != nil {
		return fmt.Errorf("listen at %v for DNS queries: %w", at, err)
	}
	go func() {
		if err := dns.Serve(connection, s.api.ServiceAddresses); err != nil {
			s.report.Log("resolving names ended: %v", err)
		}
	}()
	return nil
}
