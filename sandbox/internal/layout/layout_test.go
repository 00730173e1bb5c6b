package layout

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOneDirectoryIsOneSandboxHoweverItIsSpelled(t *testing.T) {
	base := t.TempDir()
	real := filepath.Join(base, "real")
	if err := os.Mkdir(real, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(base, "link")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	t.Chdir(base)
	want := layoutOf(t, filepath.Join(real, "d"))
	for _, spelling := range []string{"real/d", "./real//d/", filepath.Join(link, "d")} {
		if got := layoutOf(t, spelling); got != want {
			t.Errorf("%s: %+v, want %+v", spelling, got, want)
		}
	}
	if other := layoutOf(t, "real/e"); other.ID == want.ID {
		t.Error("two directories share an id")
	}
}

func layoutOf(t *testing.T, dir string) Layout {
	t.Helper()
	l, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestSocketsFitIntoUnixAddresses(t *testing.T) {
	l := layoutOf(t, "/"+strings.Repeat("d", 200))
	for _, socket := range []string{l.EtcdSocket(), l.ContainerdSocket(), l.ControlSocket()} {
		if len(socket) > 107 {
			t.Errorf("%d bytes: %s", len(socket), socket)
		}
	}
}

func TestLinkNameFitsIntoTheKernel(t *testing.T) {
	if name := layoutOf(t, "x").Link(); len(name) > 15 {
		t.Errorf("link name %s is longer than 15 bytes", name)
	}
}

func TestCreateClosesDirectoriesToOthers(t *testing.T) {
	l := layoutOf(t, t.TempDir()+"/d")
	l.Run = t.TempDir() + "/run"
	if err := l.Create(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{l.Dir, l.PKI(), l.LogDir(), l.Run} {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, info.Mode(), err)
		}
	}
}
