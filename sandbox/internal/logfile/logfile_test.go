package logfile

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func written(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.log")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTail(t *testing.T) {
	long := strings.Repeat("x", tailBytes) + "\nlast\n"
	for name, c := range map[string]struct {
		content string
		lines   int
		want    string
	}{
		"fewer lines than asked": {"a\nb\n", 5, "a\nb"},
		"more lines than asked":  {"a\nb\nc\n", 2, "b\nc"},
		"no newline at the end":  {"a\nb", 1, "b"},
		"a line that is cut off": {long, 5, "last"},
		"empty":                  {"", 3, ""},
	} {
		got, err := Tail(written(t, c.content), c.lines)
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
}

func TestOpenAppendsAndMarksEachStart(t *testing.T) {
	path := written(t, "before\n")
	for range 2 {
		file, err := Open(path, "etcd")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(file, "hello")
		file.Close()
	}
	content, _ := os.ReadFile(path)
	if !strings.HasPrefix(string(content), "before\n=== etcd starts at ") || strings.Count(string(content), "=== etcd starts at ") != 2 {
		t.Fatalf("%s", content)
	}
}

func TestCopyWritesAllOrTheTail(t *testing.T) {
	path := written(t, "a\nb\n")
	for lines, want := range map[int]string{0: "a\nb\n", 1: "b\n"} {
		var got strings.Builder
		if err := Copy(path, lines, &got); err != nil || got.String() != want {
			t.Errorf("%d lines: %q, %v", lines, got.String(), err)
		}
	}
}

func TestFollowSeesWhatIsAppended(t *testing.T) {
	path := written(t, "first\n")
	reader, writer := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() { writer.CloseWithError(Follow(ctx, path, writer)) }()
	expect(t, reader, "first\n")
	file, err := Open(path, "more")
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	expect(t, reader, "=== more")
}

func expect(t *testing.T, from io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(from, got); err != nil || string(got) != want {
		t.Fatalf("%q, %v; want %q", got, err, want)
	}
}
