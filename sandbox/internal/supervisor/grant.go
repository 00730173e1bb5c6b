package supervisor

import (
	"context"

	"github.com/ompipe/ompipe/sandbox/internal/certs"
	"github.com/ompipe/ompipe/sandbox/internal/components"
	"golang.org/x/sync/errgroup"
)

const rbac = "rbac.authorization.k8s.io"

// grant gives rights to the identities that Kubernetes itself does not know.
func (s *Supervisor) grant(ctx context.Context) error {
	objects := []map[string]any{
		bind(certs.ToKubeletUser, "system:kubelet-api-admin"),
	}
	if s.cluster.KwokPath != "" {
		objects = append(objects, kwokRole(), bind(certs.KwokUser, certs.KwokUser))
	}
	for _, object := range objects {
		path := "/apis/" + rbac + "/v1/clusterrolebindings"
		if object["kind"] == "ClusterRole" {
			path = "/apis/" + rbac + "/v1/clusterroles"
		}
		if err := s.api.Create(ctx, path, object); err != nil {
			return err
		}
	}
	return nil
}

func bind(user, role string) map[string]any {
	return map[string]any{
		"apiVersion": rbac + "/v1",
		"kind":       "ClusterRoleBinding",
		"metadata":   map[string]any{"name": user},
		"roleRef":    map[string]any{"apiGroup": rbac, "kind": "ClusterRole", "name": role},
		"subjects":   []any{map[string]any{"apiGroup": rbac, "kind": "User", "name": user}},
	}
}

func kwokRole() map[string]any {
	return map[string]any{
		"apiVersion": rbac + "/v1",
		"kind":       "ClusterRole",
		"metadata":   map[string]any{"name": certs.KwokUser},
		"rules": []any{
			rule("", "nodes", "get", "list", "watch", "patch", "update"),
			rule("", "pods", "get", "list", "watch", "patch", "update", "delete"),
			rule("", "nodes/status", "patch", "update"),
			rule("", "pods/status", "patch", "update"),
			rule("", "events", "create", "patch", "update"),
			rule("events.k8s.io", "events", "create", "patch", "update"),
			rule("coordination.k8s.io", "leases", "create", "get", "list", "watch", "patch", "update", "delete"),
		},
	}
}

func rule(group, resource string, verbs ...string) map[string]any {
	return map[string]any{"apiGroups": []string{group}, "resources": []string{resource}, "verbs": verbs}
}

// fakeNodeRequests bounds how many nodes are created at a time.
const fakeNodeRequests = 16

// bootFakeNodes starts kwok and creates the nodes that it is to fake.
func (s *Supervisor) bootFakeNodes(ctx context.Context) error {
	if s.cluster.KwokPath == "" {
		return nil
	}
	if err := s.startAll(components.Kwok); err != nil {
		return err
	}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(fakeNodeRequests)
	for i := range s.state.Options.FakeNodes {
		work.Go(func() error { return s.api.Create(ctx, "/api/v1/nodes", components.FakeNode(i)) })
	}
	if err := work.Wait(); err != nil {
		return err
	}
	s.report.Step("%d fake nodes created", s.state.Options.FakeNodes)
	return nil
}
