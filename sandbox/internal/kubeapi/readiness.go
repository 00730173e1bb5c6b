package kubeapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
)

type node struct {
	Spec struct {
		Taints []struct{ Key, Effect string }
	}
	Status struct {
		Conditions []struct{ Type, Status, Message string }
	}
}

// NodeReady tells whether pods can be scheduled to the node: it says that it is
// ready, and the controllers have taken note.
func (c *Client) NodeReady(ctx context.Context, name string) error {
	var found node
	if err := c.Get(ctx, "/api/v1/nodes/"+name, &found); err != nil {
		return err
	}
	return found.ready()
}

func (n node) ready() error {
	if err := n.saysReady(); err != nil {
		return err
	}
	for _, taint := range n.Spec.Taints {
		if taint.Effect == "NoSchedule" || taint.Effect == "NoExecute" {
			return fmt.Errorf("the node has the taint %s", taint.Key)
		}
	}
	return nil
}

func (n node) saysReady() error {
	for _, condition := range n.Status.Conditions {
		switch {
		case condition.Type == "Ready" && condition.Status == "True":
			return nil
		case condition.Type == "Ready":
			return fmt.Errorf("the node is not ready: %s", condition.Message)
		}
	}
	return errors.New("the node has not reported its condition")
}

// NamespaceReady tells whether pods can be created in the namespace: they need
// its default service account and the authority's certificate.
func (c *Client) NamespaceReady(ctx context.Context, namespace string) error {
	base := "/api/v1/namespaces/" + namespace
	if err := c.Get(ctx, base+"/serviceaccounts/default", nil); err != nil {
		return err
	}
	return c.Get(ctx, base+"/configmaps/kube-root-ca.crt", nil)
}

// headless is the cluster address of a Service that has none.
const headless = "None"

// ServiceAddresses are the addresses that the name of a Service stands for:
// its own, or its endpoints' when it has none. There are none for a Service
// that does not exist.
func (c *Client) ServiceAddresses(ctx context.Context, namespace, name string) ([]netip.Addr, error) {
	var service struct{ Spec struct{ ClusterIP string } }
	err := c.Get(ctx, fmt.Sprintf("/api/v1/namespaces/%s/services/%s", namespace, name), &service)
	if refusal, ok := err.(*StatusError); ok && refusal.Code == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if service.Spec.ClusterIP == headless {
		return c.endpoints(ctx, namespace, name)
	}
	return parseAddresses([]string{service.Spec.ClusterIP}), nil
}

func (c *Client) endpoints(ctx context.Context, namespace, service string) ([]netip.Addr, error) {
	var slices struct {
		Items []struct {
			Endpoints []struct{ Addresses []string }
		}
	}
	path := "/apis/discovery.k8s.io/v1/namespaces/%s/endpointslices?labelSelector=kubernetes.io/service-name=%s"
	if err := c.Get(ctx, fmt.Sprintf(path, namespace, service), &slices); err != nil {
		return nil, err
	}
	var found []netip.Addr
	for _, slice := range slices.Items {
		for _, endpoint := range slice.Endpoints {
			found = append(found, parseAddresses(endpoint.Addresses)...)
		}
	}
	return found, nil
}

func parseAddresses(texts []string) []netip.Addr {
	var parsed []netip.Addr
	for _, text := range texts {
		if address, err := netip.ParseAddr(text); err == nil && address.Is4() {
			parsed = append(parsed, address)
		}
	}
	return parsed
}
