package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ompipe/ompipe/sandbox/internal/kubeconfig"
)

var cluster1 = Cluster{
	Port:        6443,
	NodeName:    "sandbox",
	NodeAddress: netip.MustParseAddr("10.200.255.2"),
	Service:     netip.MustParseAddr("10.200.128.1"),
}

// written fills a directory and returns it with the authority's pool.
func written(t *testing.T) (dir string, authority *x509.CertPool) {
	t.Helper()
	dir = t.TempDir()
	if err := cluster1.Write(dir, filepath.Join(dir, "admin.conf"), time.Now()); err != nil {
		t.Fatal(err)
	}
	authority = x509.NewCertPool()
	if !authority.AppendCertsFromPEM(read(t, dir, AuthorityFile)) {
		t.Fatal("the authority's file holds no certificate")
	}
	return dir, authority
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func parse(t *testing.T, encoded []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(encoded)
	if block == nil {
		t.Fatal("no PEM block")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func TestServersAreValidForTheNamesTheyAreReachedBy(t *testing.T) {
	dir, authority := written(t)
	for file, names := range map[string][]string{
		ServerCertificate:  {"127.0.0.1", "10.200.255.2", "10.200.128.1", "localhost", "kubernetes.default.svc"},
		KubeletCertificate: {"sandbox", "10.200.255.2"},
	} {
		certificate := parse(t, read(t, dir, file))
		for _, name := range names {
			_, err := certificate.Verify(x509.VerifyOptions{
				DNSName: name, Roots: authority, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			})
			if err != nil {
				t.Errorf("%s for %s: %v", file, name, err)
			}
		}
		if err := certificate.VerifyHostname("10.200.255.1"); err == nil {
			t.Errorf("%s is valid for the host's address", file)
		}
		if slices.Contains(certificate.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
			t.Errorf("%s can log in as a client", file)
		}
	}
}

func TestClientsHaveTheRightsOfTheirComponentOnly(t *testing.T) {
	dir, authority := written(t)
	for file, want := range map[string]struct {
		user, server string
		groups       []string
	}{
		"admin.conf":           {"admin", "https://127.0.0.1:6443", []string{"system:masters"}},
		"kcm.kubeconfig":       {"system:kube-controller-manager", "https://127.0.0.1:6443", nil},
		"scheduler.kubeconfig": {"system:kube-scheduler", "https://127.0.0.1:6443", nil},
		"kubelet.kubeconfig":   {"system:node:sandbox", "https://10.200.255.2:6443", []string{"system:nodes"}},
		"proxy.kubeconfig":     {"system:kube-proxy", "https://10.200.255.2:6443", nil},
		"kwok.kubeconfig":      {KwokUser, "https://127.0.0.1:6443", nil},
	} {
		config, err := kubeconfig.Read(filepath.Join(dir, file))
		if err != nil || config.Server != want.server {
			t.Fatalf("%s: server %s, %v; want %s", file, config.Server, err, want.server)
		}
		if _, err := tls.X509KeyPair(config.Certificate, config.Key); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		certificate := parse(t, config.Certificate)
		if certificate.Subject.CommonName != want.user || !slices.Equal(certificate.Subject.Organization, want.groups) {
			t.Errorf("%s: %v, want %s of %v", file, certificate.Subject, want.user, want.groups)
		}
		verifyClient(t, file, certificate, authority)
	}
}

func verifyClient(t *testing.T, file string, certificate *x509.Certificate, authority *x509.CertPool) {
	t.Helper()
	_, err := certificate.Verify(x509.VerifyOptions{
		Roots: authority, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		t.Errorf("%s: %v", file, err)
	}
	if slices.Contains(certificate.ExtKeyUsage, x509.ExtKeyUsageServerAuth) || certificate.IsCA {
		t.Errorf("%s can serve or sign", file)
	}
}

func TestCertificatesOfAnotherSandboxAreRefused(t *testing.T) {
	dir, _ := written(t)
	_, stranger := written(t)
	certificate := parse(t, read(t, dir, ServerCertificate))
	if _, err := certificate.Verify(x509.VerifyOptions{DNSName: "localhost", Roots: stranger}); err == nil {
		t.Fatal("accepted by an authority that did not sign it")
	}
}

func TestCertificatesOutliveASandboxAndTolerateClocks(t *testing.T) {
	dir, _ := written(t)
	for _, file := range []string{AuthorityFile, ServerCertificate, KubeletCertificate, ToKubeletCertificate} {
		certificate := parse(t, read(t, dir, file))
		if certificate.NotBefore.After(time.Now().Add(-30 * time.Minute)) {
			t.Errorf("%s: not valid half an hour ago", file)
		}
		if certificate.NotAfter.Before(time.Now().Add(300 * 24 * time.Hour)) {
			t.Errorf("%s: expires %v", file, certificate.NotAfter)
		}
	}
}

func TestTheAuthoritysKeyIsNotKeptAndFilesAreClosed(t *testing.T) {
	dir, _ := written(t)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	authority := parse(t, read(t, dir, AuthorityFile))
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || info.Mode().Perm() != keyMode {
			t.Errorf("%s: mode %v, %v", entry.Name(), info.Mode(), err)
		}
		if _, err := tls.X509KeyPair(read(t, dir, AuthorityFile), read(t, dir, entry.Name())); err == nil {
			t.Errorf("%s holds the authority's key", entry.Name())
		}
	}
	if authority.KeyUsage&x509.KeyUsageCertSign == 0 || !authority.MaxPathLenZero {
		t.Error("the authority may not sign, or may make further authorities")
	}
}

func TestSigningKeysDiffer(t *testing.T) {
	private1, public1, err1 := SigningKey()
	private2, public2, err2 := SigningKey()
	if err1 != nil || err2 != nil || bytes.Equal(private1, private2) || bytes.Equal(public1, public2) {
		t.Fatalf("two signing keys are equal, or %v, %v", err1, err2)
	}
}
