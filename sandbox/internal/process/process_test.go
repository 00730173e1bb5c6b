package process

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func sleeper(t *testing.T, environment ...string) (*exec.Cmd, Identity) {
	t.Helper()
	command := exec.Command("sleep", "60")
	command.Env = append(os.Environ(), environment...)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	identity, err := Of(command.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return command, identity
}

func TestStatOfANameWithParenthesesAndSpaces(t *testing.T) {
	line := "42 (a) b) S " + strings.Repeat("1 ", 18) + "777 0 0"
	got, err := parseStat(line)
	if err != nil || got.state != "S" || got.startTicks != 777 {
		t.Fatalf("parseStat = %+v, %v", got, err)
	}
	if _, err := parseStat("42 (short) S 1"); err == nil {
		t.Fatal("a truncated line was accepted")
	}
}

func TestARecycledPidIsNotTouched(t *testing.T) {
	_, identity := sleeper(t)
	for name, stranger := range map[string]Identity{
		"started at another time": {PID: identity.PID, StartTicks: identity.StartTicks + 1, Boot: identity.Boot},
		"of another boot":         {PID: identity.PID, StartTicks: identity.StartTicks, Boot: "earlier"},
	} {
		if stranger.Alive() {
			t.Errorf("%s: reported alive", name)
		}
		if err := stranger.Signal(unix.SIGKILL); !errors.Is(err, ErrGone) {
			t.Errorf("%s: Signal = %v, want ErrGone", name, err)
		}
		if err := stranger.Stop(t.Context(), 0); err != nil {
			t.Errorf("%s: Stop = %v", name, err)
		}
	}
	if !identity.Alive() {
		t.Fatal("the process that now has the pid was killed")
	}
}

func TestInitIsNeverTouched(t *testing.T) {
	one, err := Of(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := one.Signal(0); err == nil || errors.Is(err, ErrGone) {
		t.Fatalf("Signal to process 1 = %v, want a refusal", err)
	}
}

func TestStopEndsAProcessThatHonoursTerm(t *testing.T) {
	command, identity := sleeper(t)
	if err := identity.Stop(t.Context(), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait()
	if status := command.ProcessState.Sys().(interface{ Signal() unix.Signal }).Signal(); status != unix.SIGTERM {
		t.Fatalf("ended by %v, want SIGTERM", status)
	}
}

func TestStopKillsAProcessThatIgnoresTerm(t *testing.T) {
	command := exec.Command("sh", "-c", "trap '' TERM; echo ready; exec sleep 60")
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := output.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	identity, err := Of(command.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := identity.Stop(t.Context(), 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait()
	if status := command.ProcessState.Sys().(interface{ Signal() unix.Signal }).Signal(); status != unix.SIGKILL {
		t.Fatalf("ended by %v, want SIGKILL", status)
	}
}

func TestStopOfAZombieReturnsAtOnce(t *testing.T) {
	command, identity := sleeper(t)
	_ = command.Process.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := identity.Stop(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if identity.Alive() {
		t.Fatal("a zombie is reported alive")
	}
}

func TestMarkedFindsOnlyTheMarkOfThisSandbox(t *testing.T) {
	_, ours := sleeper(t, Mark("test-ours"))
	sleeper(t, Mark("test-ours-not"))
	found, err := Marked("test-ours")
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0] != ours {
		t.Fatalf("Marked = %+v, want %+v", found, ours)
	}
}

func TestMemoryOfThisProcess(t *testing.T) {
	memory, err := MemoryOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if memory.Proportional <= 0 || memory.Resident < memory.Proportional {
		t.Fatalf("MemoryOf = %+v", memory)
	}
}

func TestMemoryIsTheProportionalShare(t *testing.T) {
	maps := "55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss:              177512 kB\nPss:               63249 kB\nPss_Dirty: 1 kB\n"
	if got := proportionalMemory(maps); got != 63249 {
		t.Errorf("%d", got)
	}
	ourselves, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if ourselves.MemoryKiB() < 1000 {
		t.Errorf("this test uses %d KiB", ourselves.MemoryKiB())
	}
	ourselves.StartTicks++
	if got := ourselves.MemoryKiB(); got != 0 {
		t.Errorf("a process that is gone uses %d KiB", got)
	}
}
