package supervisor

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
)

// control is how other processes talk to the supervisor: HTTP over a Unix
// socket in a directory that only its owner may enter.
type control struct {
	server *http.Server
	// shutdown is closed when somebody asks for the end.
	shutdown chan struct{}
}

func (s *Supervisor) listen() (*control, error) {
	listener, err := net.Listen("unix", s.layout.ControlSocket())
	if err != nil {
		return nil, fmt.Errorf("listen for commands: %w", err)
	}
	c := &control{shutdown: make(chan struct{})}
	end := sync.OnceFunc(func() { close(c.shutdown) })
	routes := http.NewServeMux()
	routes.HandleFunc("POST /components/{name}/{action}", s.act)
	routes.HandleFunc("POST /shutdown", func(http.ResponseWriter, *http.Request) { end() })
	c.server = &http.Server{Handler: routes}
	go func() { _ = c.server.Serve(listener) }()
	return c, nil
}

func (c *control) close() { _ = c.server.Close() }

func (s *Supervisor) act(w http.ResponseWriter, r *http.Request) {
	err := s.perform(r.Context(), r.PathValue("name"), Action(r.PathValue("action")), r.URL.Query().Has(nowParameter))
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
	}
}

func (s *Supervisor) perform(ctx context.Context, name string, action Action, now bool) error {
	switch action {
	case ActionStart:
		return s.Start(name)
	case ActionStop:
		return s.Stop(ctx, name, now)
	case ActionRestart:
		if err := s.Stop(ctx, name, now); err != nil {
			return err
		}
		return s.Start(name)
	}
	return fmt.Errorf("unknown action %q", action)
}
