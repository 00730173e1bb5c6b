package kubeapi

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crypto/tls"
	"crypto/x509"

	"github.com/ompipe/ompipe/sandbox/internal/certs"
)

// serve answers with handler, as an API server that accepts only clients of
// the sandbox's authority, and returns a client with the administrator's
// kubeconfig.
func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	dir := t.TempDir()
	server := httptest.NewUnstartedServer(handler)
	cluster := certs.Cluster{
		Port:        server.Listener.Addr().(*net.TCPAddr).Port,
		NodeAddress: netip.MustParseAddr("10.0.0.2"), Service: netip.MustParseAddr("10.0.0.3"),
	}
	admin := filepath.Join(dir, "kubeconfig")
	if err := cluster.Write(dir, admin, time.Now()); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, certs.ServerCertificate), filepath.Join(dir, certs.ServerKey))
	if err != nil {
		t.Fatal(err)
	}
	authority := x509.NewCertPool()
	authorityPEM, err := os.ReadFile(filepath.Join(dir, certs.AuthorityFile))
	if err != nil || !authority.AppendCertsFromPEM(authorityPEM) {
		t.Fatal("no authority")
	}
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: authority, ClientAuth: tls.RequireAndVerifyClientCert,
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	client, err := New(admin)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestBothSidesAreVerified(t *testing.T) {
	user := ""
	client := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		user = r.TLS.PeerCertificates[0].Subject.CommonName
	})
	if err := client.Ready(t.Context()); err != nil || user != "admin" {
		t.Fatalf("user %q, %v", user, err)
	}
	stranger := serve(t, func(http.ResponseWriter, *http.Request) {})
	stranger.server = client.server
	if err := stranger.Ready(t.Context()); err == nil {
		t.Fatal("a server of another authority was trusted")
	}
}

func TestCreateLeavesWhatExists(t *testing.T) {
	code := http.StatusConflict
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": "quota exceeded"})
	})
	if err := client.Create(t.Context(), "/api/v1/nodes", map[string]string{}); err != nil {
		t.Errorf("a conflict is an error: %v", err)
	}
	code = http.StatusForbidden
	err := client.Create(t.Context(), "/api/v1/nodes", map[string]string{})
	if err == nil || !strings.Contains(err.Error(), "POST /api/v1/nodes") || !strings.Contains(err.Error(), "quota exceeded") {
		t.Errorf("a refusal: %v", err)
	}
}

func TestWhenANodeIsReady(t *testing.T) {
	for object, want := range map[string]string{
		`{"status":{"conditions":[{"type":"Ready","status":"True"}]}}`:                         "",
		`{"status":{"conditions":[{"type":"Ready","status":"False","message":"no network"}]}}`: "no network",
		`{}`: "not reported",
		`{"spec":{"taints":[{"key":"k/not-ready","effect":"NoSchedule"}]},"status":{"conditions":[{"type":"Ready","status":"True"}]}}`: "k/not-ready",
		`{"spec":{"taints":[{"key":"hint","effect":"PreferNoSchedule"}]},"status":{"conditions":[{"type":"Ready","status":"True"}]}}`:  "",
	} {
		client := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(object)) })
		err := client.NodeReady(t.Context(), "sandbox")
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", object, err, want)
		}
	}
}
