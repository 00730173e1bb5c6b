package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/ompipe/ompipe/sandbox/internal/layout"
)

// Action is what can be done with a component.
type Action string

// Actions on components.
const (
	ActionStart   Action = "start"
	ActionStop    Action = "stop"
	ActionRestart Action = "restart"
)

// nowParameter asks for SIGKILL at once.
const nowParameter = "now"

// Client talks to a running supervisor.
type Client struct{ http *http.Client }

// Connect prepares a client; nothing is sent yet.
func Connect(l layout.Layout) Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", l.ControlSocket())
	}
	return Client{&http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Act starts, stops or restarts a component.
func (c Client) Act(ctx context.Context, component string, action Action, now bool) error {
	path := fmt.Sprintf("/components/%s/%s", url.PathEscape(component), action)
	if now {
		path += "?" + nowParameter
	}
	return c.post(ctx, path)
}

// Shutdown asks the supervisor to end; it is still ending when this returns.
func (c Client) Shutdown(ctx context.Context) error { return c.post(ctx, "/shutdown") }

func (c Client) post(ctx context.Context, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://supervisor"+path, nil)
	if err != nil {
		return err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("talk to the supervisor: %w", err)
	}
	defer answer.Body.Close()
	message, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("talk to the supervisor: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(message)))
	}
	return nil
}
