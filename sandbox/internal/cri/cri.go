// Package cri talks to containerd the way the kubelet does.
package cri

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Client is a connection to a container runtime.
type Client struct {
	connection *grpc.ClientConn
	runtime    runtimeapi.RuntimeServiceClient
	images     runtimeapi.ImageServiceClient
}

// Dial prepares a connection to the runtime's Unix socket. It is made at the
// first call.
func Dial(socket string) (*Client, error) {
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("connect to containerd at %s: %w", socket, err)
	}
	return &Client{
		connection: connection,
		runtime:    runtimeapi.NewRuntimeServiceClient(connection),
		images:     runtimeapi.NewImageServiceClient(connection),
	}, nil
}

// Close ends the connection.
func (c *Client) Close() { _ = c.connection.Close() }

// Version asks for the runtime's version; an answer means that it serves.
func (c *Client) Version(ctx context.Context) (string, error) {
	answer, err := c.runtime.Version(ctx, &runtimeapi.VersionRequest{})
	if err != nil {
		return "", err
	}
	return answer.RuntimeVersion, nil
}

// ImageID returns the id of the image with that name, or "" when there is none.
func (c *Client) ImageID(ctx context.Context, name string) (string, error) {
	answer, err := c.images.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{
		Image: &runtimeapi.ImageSpec{Image: name},
	})
	if err != nil {
		return "", fmt.Errorf("look for image %s: %w", name, err)
	}
	return answer.GetImage().GetId(), nil
}

// RemovePods ends and removes every pod that the runtime knows, running or
// left from an earlier life.
func (c *Client) RemovePods(ctx context.Context) error {
	answer, err := c.runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return fmt.Errorf("list pods in containerd: %w", err)
	}
	var removals errgroup.Group
	removals.SetLimit(8)
	failures := make([]error, len(answer.Items))
	for i, pod := range answer.Items {
		removals.Go(func() error {
			failures[i] = c.removePod(ctx, pod)
			return nil
		})
	}
	_ = removals.Wait()
	return errors.Join(failures...)
}

func (c *Client) removePod(ctx context.Context, pod *runtimeapi.PodSandbox) error {
	// Containers get SIGKILL: nobody waits for what they would still do.
	_, err := c.runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: pod.Id})
	if err == nil {
		_, err = c.runtime.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: pod.Id})
	}
	if err != nil {
		return fmt.Errorf("remove pod %s/%s: %w", pod.Metadata.GetNamespace(), pod.Metadata.GetName(), err)
	}
	return nil
}
