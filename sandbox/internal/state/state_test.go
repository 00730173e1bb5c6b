package state

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ompipe/ompipe/sandbox/internal/address"
	"github.com/ompipe/ompipe/sandbox/internal/process"
)

func example(t *testing.T) State {
	t.Helper()
	networks, err := address.FreeNetworks(nil)
	if err != nil {
		t.Fatal(err)
	}
	ourselves, err := process.Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return State{
		ID: "1", CreatedAt: time.Now().UTC().Truncate(time.Second), Networks: networks, Port: 1234,
		Options:    Options{Node: true, Extra: map[string][]string{"kcm": {"a=b"}}},
		Supervisor: &ourselves,
		Components: []Component{{Name: "etcd", State: Running, Process: &process.Identity{PID: 2}}, {Name: "kcm", State: Pending}},
	}
}

func TestStateSurvivesTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	if loaded, err := Load(file); loaded != nil || err != nil {
		t.Fatalf("no file: %v, %v", loaded, err)
	}
	want := example(t)
	for range 2 {
		if err := want.Save(file); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Load(file)
	if err != nil || !reflect.DeepEqual(*got, want) {
		t.Fatalf("%+v, %v; want %+v", got, err, want)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".state-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestABrokenFileSaysWhatToDo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "sandbox down") {
		t.Fatalf("%v", err)
	}
}

func TestProcessesStartWithTheSupervisor(t *testing.T) {
	s := example(t)
	all := s.Processes()
	if len(all) != 2 || all[0] != *s.Supervisor || all[1].PID != 2 {
		t.Fatalf("%+v", all)
	}
	if !s.SupervisorAlive() {
		t.Error("this process is reported dead")
	}
	s.Supervisor = nil
	if s.SupervisorAlive() {
		t.Error("no supervisor is reported alive")
	}
}

func TestOptionsAreComparedByContent(t *testing.T) {
	base := Options{Node: true, Extra: map[string][]string{"kcm": {"a=b"}}}
	if !base.Equal(Options{Node: true, Extra: map[string][]string{"kcm": {"a=b"}}}) {
		t.Error("equal options differ")
	}
	for name, other := range map[string]Options{
		"mode": {}, "nodes": {Node: true, FakeNodes: 1}, "flags": {Node: true, Extra: map[string][]string{"kcm": {"a=c"}}},
	} {
		if base.Equal(other) {
			t.Errorf("%s: different options are equal", name)
		}
	}
}
