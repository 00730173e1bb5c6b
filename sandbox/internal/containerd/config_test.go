package containerd

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/ompipe/ompipe/sandbox/internal/layout"
)

func TestConfigKeepsEverythingInTheSandbox(t *testing.T) {
	l := layout.Layout{Dir: t.TempDir(), Run: "/run/one"}
	if err := Write(Settings{Layout: l, Plugins: "/usr/lib/cni", Snapshotter: "native"}); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(l.ContainerdConfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`root = "` + l.Dir + `/containerd"`, `state = "/run/one/containerd"`, `address = "/run/one/containerd.sock"`,
		`Root = "/run/one/runc"`, `bin_dir = "/usr/lib/cni"`, `snapshotter = "native"`,
		`sandbox_image = "sandbox.local/pause:1"`,
	} {
		if !strings.Contains(string(written), line+"\n") {
			t.Errorf("%q is missing in\n%s", line, written)
		}
	}
}

func TestProgressCountsWhatWasRead(t *testing.T) {
	var last int64
	reader := &countingReader{from: strings.NewReader("12345"), total: 5, progress: func(read, total int64) {
		if read < last || total != 5 {
			t.Errorf("progress %d of %d after %d", read, total, last)
		}
		last = read
	}}
	if _, err := io.Copy(io.Discard, reader); err != nil || last != 5 {
		t.Fatalf("counted %d, %v", last, err)
	}
}
