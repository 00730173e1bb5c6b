// Package address picks ports and networks that nobody uses.
package address

import (
	"fmt"
	"net"
)

// FreePort returns a TCP port of 127.0.0.1 that is free now.
func FreePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port on 127.0.0.1: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
