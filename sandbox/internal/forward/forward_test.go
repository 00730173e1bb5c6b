package forward

import (
	"io"
	"net"
	"testing"
	"time"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

// connect returns a connection that goes through a forwarder to target.
func connect(t *testing.T, target string) *net.TCPConn {
	t.Helper()
	front := listen(t)
	go func() { _ = Serve(front, target) }()
	client, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	_ = client.SetDeadline(time.Now().Add(10 * time.Second))
	return client.(*net.TCPConn)
}

func TestAnAnswerArrivesAfterTheClientHasFinishedSending(t *testing.T) {
	back := listen(t)
	go func() {
		server, err := back.Accept()
		if err != nil {
			return
		}
		defer server.Close()
		heard, _ := io.ReadAll(server)
		_, _ = server.Write(append([]byte("heard "), heard...))
	}()
	client := connect(t, back.Addr().String())
	_, _ = client.Write([]byte("hello"))
	_ = client.CloseWrite()
	answer, err := io.ReadAll(client)
	if err != nil || string(answer) != "heard hello" {
		t.Fatalf("answer %q, %v", answer, err)
	}
}

func TestADeadTargetClosesTheConnection(t *testing.T) {
	gone := listen(t)
	gone.Close()
	client := connect(t, gone.Addr().String())
	if n, err := client.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatalf("read %d bytes, %v from a target that is gone", n, err)
	}
}

func TestServeEndsWithItsListener(t *testing.T) {
	front := listen(t)
	ended := make(chan error, 1)
	go func() { ended <- Serve(front, "127.0.0.1:1") }()
	front.Close()
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Serve goes on after its listener was closed")
	}
}
