// Package kubeapi makes the few requests to the API server that bring a
// cluster up. Kubernetes' own client library would do, at the price of minutes
// of compiling for everyone who works on this code.
package kubeapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ompipe/ompipe/sandbox/internal/kubeconfig"
)

// requestTimeout ends a request to a server that does not answer; the caller
// polls and asks again.
const requestTimeout = 10 * time.Second

// Client talks to one API server.
type Client struct {
	server string
	http   *http.Client
}

// New makes a client from the kubeconfig at path.
func New(path string) (*Client, error) {
	config, err := kubeconfig.Read(path)
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(config.Certificate, config.Key)
	if err != nil {
		return nil, fmt.Errorf("user %s in kubeconfig %s: %w", config.User, path, err)
	}
	authority := x509.NewCertPool()
	authority.AppendCertsFromPEM(config.Authority)
	return &Client{server: config.Server, http: &http.Client{
		Timeout: requestTimeout,
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: authority, Certificates: []tls.Certificate{certificate}},
			MaxIdleConnsPerHost: 16,
		},
	}}, nil
}

// StatusError is the API server's refusal.
type StatusError struct {
	Request string
	Code    int
	Message string
}

// Error implements error.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: the API server answered %d: %s", e.Request, e.Code, e.Message)
}

// Get reads the object at path.
func (c *Client) Get(ctx context.Context, path string, into any) error {
	return c.do(ctx, http.MethodGet, path, nil, into)
}

// Ready tells whether the API server serves.
func (c *Client) Ready(ctx context.Context) error {
	return c.do(ctx, http.MethodGet, "/readyz", nil, nil)
}

// Create makes an object in the collection at path. One that exists is left as
// it is.
func (c *Client) Create(ctx context.Context, path string, object any) error {
	encoded, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("create in %s: %w", path, err)
	}
	err = c.do(ctx, http.MethodPost, path, encoded, nil)
	if refusal, ok := err.(*StatusError); ok && refusal.Code == http.StatusConflict {
		return nil
	}
	return err
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, c.server+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if answer.StatusCode >= http.StatusBadRequest {
		return &StatusError{Request: method + " " + path, Code: answer.StatusCode, Message: reason(content)}
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

// reason is the message of a Status object, or else the body as it is.
func reason(body []byte) string {
	var status struct{ Message string }
	if json.Unmarshal(body, &status) == nil && status.Message != "" {
		return status.Message
	}
	return string(body)
}
