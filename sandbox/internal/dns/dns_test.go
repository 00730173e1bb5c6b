package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func lookUp(_ context.Context, namespace, service string) ([]netip.Addr, error) {
	switch {
	case service == "broken":
		return nil, errors.New("the API server is away")
	case namespace == "default" && service == "web":
		return []netip.Addr{netip.MustParseAddr("10.1.2.3")}, nil
	}
	return nil, nil
}

func ask(t *testing.T, name string, kind dnsmessage.Type) dnsmessage.Message {
	t.Helper()
	question := dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}
	query := dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{question}}
	packed, err := query.Pack()
	if err != nil {
		t.Fatal(err)
	}
	answered, err := answer(packed, lookUp)
	if err != nil {
		t.Fatal(err)
	}
	var message dnsmessage.Message
	if err := message.Unpack(answered); err != nil {
		t.Fatal(err)
	}
	return message
}

func TestNamesOfServices(t *testing.T) {
	for name, c := range map[string]struct {
		kind    dnsmessage.Type
		code    dnsmessage.RCode
		answers int
	}{
		"web.default.svc.cluster.local.":    {dnsmessage.TypeA, dnsmessage.RCodeSuccess, 1},
		"WEB.Default.svc.cluster.local.":    {dnsmessage.TypeA, dnsmessage.RCodeSuccess, 1},
		"no.default.svc.cluster.local.":     {dnsmessage.TypeA, dnsmessage.RCodeNameError, 0},
		"broken.default.svc.cluster.local.": {dnsmessage.TypeA, dnsmessage.RCodeServerFailure, 0},
		"a.b.c.svc.cluster.local.":          {dnsmessage.TypeA, dnsmessage.RCodeNameError, 0},
		"example.com.":                      {dnsmessage.TypeA, dnsmessage.RCodeNameError, 0},
	} {
		got := ask(t, name, c.kind)
		if got.RCode != c.code || len(got.Answers) != c.answers || got.ID != 7 {
			t.Errorf("%s: %v with %d answers, want %v with %d", name, got.RCode, len(got.Answers), c.code, c.answers)
		}
	}
	if got := ask(t, "web.default.svc.cluster.local.", dnsmessage.TypeAAAA); got.RCode != dnsmessage.RCodeSuccess || len(got.Answers) != 0 {
		t.Errorf("an IPv6 address of an IPv4 Service: %v", got)
	}
}

func TestWhatIsNoQueryGetsNoAnswer(t *testing.T) {
	for _, packet := range [][]byte{nil, []byte("x"), make([]byte, 12)} {
		if _, err := answer(packet, lookUp); err == nil {
			t.Errorf("%v was answered", packet)
		}
	}
}

func TestServesOverUDPUntilClosed(t *testing.T) {
	connection, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- Serve(connection, lookUp) }()
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", connection.LocalAddr().String())
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	found, err := resolver.LookupNetIP(ctx, "ip4", "web.default.svc.cluster.local.")
	if err != nil || len(found) != 1 || found[0].String() != "10.1.2.3" {
		t.Errorf("%v, %v", found, err)
	}
	connection.Close()
	if err := <-served; err != nil {
		t.Errorf("after the end: %v", err)
	}
}
