package debian

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func never(string) bool  { return false }
func always(string) bool { return true }

func TestMissingPackagesAreNamedOnce(t *testing.T) {
	got := findMissing([]requirement{
		{"containerd", "containerd", "runs containers", never},
		{"ctr", "containerd", "loads images", never},
		{"runc", "runc", "starts containers", always},
		{"nft", "nftables", "Services", never},
	})
	want := []Missing{{"containerd", "runs containers"}, {"nftables", "Services"}}
	if !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
	if command := InstallCommand(got); command != "apt-get install --no-install-recommends containerd nftables" {
		t.Errorf("%s", command)
	}
}

func TestInstallWithoutAptNamesThePackages(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := Install(t.Context(), []Missing{{"runc", ""}})
	if err == nil || err.Error() == "" {
		t.Fatal("no error without apt-get")
	}
}

func TestADynamicProgramIsNotStatic(t *testing.T) {
	dir := t.TempDir()
	shell, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "busybox"), shell, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	if isStatic("busybox") {
		t.Fatal("/bin/sh, which needs a dynamic linker, counts as static")
	}
	if isStatic("no-such-program") {
		t.Fatal("a missing program counts as static")
	}
}
