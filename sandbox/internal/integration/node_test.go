package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ompipe/ompipe/sandbox/internal/components"
	"github.com/ompipe/ompipe/sandbox/internal/images"
	"github.com/ompipe/ompipe/sandbox/internal/state"
	"golang.org/x/sys/unix"
)

func TestANodeRunsPods(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	b := newBox(t)
	b.must("up")
	b.must("kubectl", "run", "greeter", "--image", images.Busybox, "--restart", "Never", "--", "sh", "-c",
		"nslookup kubernetes.default.svc.cluster.local && echo hello")
	b.becomes("Succeeded", "get", "pod", "greeter", "-o", "jsonpath={.status.phase}")
	if log := b.must("kubectl", "logs", "greeter"); !strings.HasSuffix(log, "hello\n") {
		t.Errorf("log of the pod: %q", log)
	}
	b.must("down")
	b.leftNothing()
}

func TestUpTwiceIsUpOnce(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	b := newBox(t)
	b.must("up")
	before := b.status()
	if !before.Healthy || before.Node != components.NodeName {
		t.Errorf("status: %+v", before)
	}
	b.must("up")
	if after := b.status(); *after.Components[0].Process != *before.Components[0].Process {
		t.Errorf("the second up started %+v", after.Components[0])
	}
	b.refuses("other options", "up", "--control-plane-only")
}

func TestSandboxesSideBySide(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	one, other := newBox(t), newBox(t)
	first := one.command("up")
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	other.must("up")
	if err := first.Wait(); err != nil {
		t.Fatal(err)
	}
	a, b := one.status(), other.status()
	if a.APIServer == b.APIServer || a.Networks.Pods.Overlaps(b.Networks.Pods) || a.HostAddress == b.HostAddress {
		t.Errorf("they share something: %+v and %+v", a.Networks, b.Networks)
	}
	one.must("down")
	one.leftNothing()
	if still := other.status(); !still.Healthy {
		t.Errorf("the other one suffers: %+v", still)
	}
}

func TestImagesAreLoadedOnceAndOutliveTheCluster(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	image := images.Image{Name: "sandbox.local/nothing:1", Command: []string{"/nothing"}, Files: []images.File{
		{Path: "nothing", Content: []byte("nothing"), Mode: 0o755},
	}}
	content, err := image.Archive()
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "nothing.tar")
	if err := os.WriteFile(archive, content, 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBox(t)
	b.refuses("there is no sandbox", "load", archive)
	for _, want := range []string{"is loaded", "is there already"} {
		b.must("up")
		if said := b.must("load", archive); !strings.Contains(said, want) {
			t.Errorf("load says %q, want %q", said, want)
		}
		b.must("down")
	}
}

func TestAComponentThatDiesIsReportedAndStaysDead(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	b := newBox(t)
	b.must("up")
	scheduler := b.component(components.Scheduler)
	if err := unix.Kill(scheduler.Process.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.eventually("the record of the death", func() error {
		if phase := b.component(components.Scheduler).State; phase != state.Dead {
			return fmt.Errorf("the scheduler is %s", phase)
		}
		return nil
	})
	b.refuses("not healthy", "status")
	b.refuses("scheduler is dead", "up")
	dead := b.component(components.Scheduler)
	if !strings.Contains(dead.Exit, "killed") || dead.LogTail == "" {
		t.Errorf("the record of the death: %+v", dead)
	}
	b.must("start", components.Scheduler)
	b.must("status")
}

func TestEveryComponentCanBeDisturbed(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	b := newBox(t)
	b.must("up")
	for _, component := range b.status().Components {
		b.must("stop", component.Name, "--now")
		if phase := b.component(component.Name).State; phase != state.Stopped {
			t.Errorf("%s is %s after stop", component.Name, phase)
		}
		b.must("stop", component.Name)
		b.must("start", component.Name)
		b.must("restart", component.Name)
	}
	b.refuses("no component", "stop", "nonsense")
	b.becomes("True", "get", "node", components.NodeName, "-o",
		`jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
}

func TestACrashOfTheSupervisorIsCleanedUp(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	for _, next := range []string{"down", "up"} {
		b := newBox(t)
		b.must("up")
		b.must("kubectl", "run", "sleeper", "--image", images.Busybox, "--", "sleep", "1000")
		b.becomes("Running", "get", "pod", "sleeper", "-o", "jsonpath={.status.phase}")
		killSupervisor(t, b)
		b.refuses("has died", "status")
		b.must(next)
		if next == "up" {
			b.must("kubectl", "get", "pods")
			b.must("down")
		}
		b.leftNothing()
	}
}

func killSupervisor(t *testing.T, b box) {
	t.Helper()
	recorded, err := state.Load(b.layout.StateFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(recorded.Supervisor.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := recorded.Supervisor.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAnInterruptedUpLeavesNothing(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	b := newBox(t)
	up := b.command("up")
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	b.eventually("the first component", func() error {
		recorded, err := state.Load(b.layout.StateFile())
		if err == nil && (recorded == nil || len(recorded.Components) == 0) {
			return fmt.Errorf("nothing is started")
		}
		return err
	})
	if err := up.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := up.Wait(); err == nil {
		t.Error("an interrupted up succeeded")
	}
	b.leftNothing()
}
