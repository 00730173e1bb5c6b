// Package forward passes TCP connections on to another address.
package forward

import (
	"errors"
	"io"
	"net"
	"sync"
)

// Serve accepts connections until the listener is closed and passes each on to
// target. A target that refuses is seen by the client as a closed connection,
// as if the target itself had gone.
func Serve(listener net.Listener, target string) error {
	for {
		client, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go pass(client, target)
	}
}

func pass(client net.Conn, target string) {
	defer client.Close()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	var directions sync.WaitGroup
	directions.Go(func() { relay(server, client) })
	directions.Go(func() { relay(client, server) })
	directions.Wait()
}

// relay passes the end of the stream on too, so that either side may finish
// first while the other still sends.
func relay(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if err != nil {
		to.Close()
		from.Close()
		return
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
