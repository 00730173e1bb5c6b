package lock

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

func TestOnlyOneHoldsALock(t *testing.T) {
	for _, path := range []string{t.TempDir(), filepath.Join(t.TempDir(), "file")} {
		held, err := Take(t.Context(), path, func() { t.Error("waiting for nobody") })
		if err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		told := 0
		if _, err := Take(short, path, func() { told++ }); !errors.Is(err, context.DeadlineExceeded) || told != 1 {
			t.Fatalf("a held lock: %v, told %d times", err, told)
		}
		held.Release()
		again, err := Take(t.Context(), path, func() {})
		if err != nil {
			t.Fatal(err)
		}
		again.Release()
	}
}
