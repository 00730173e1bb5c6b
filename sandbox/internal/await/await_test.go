package await

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestUntilReturnsAsSoonAsTheConditionHolds(t *testing.T) {
	calls := 0
	err := Until(t.Context(), "three", func(context.Context) error {
		if calls++; calls < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil || calls != 3 {
		t.Fatalf("%d calls, %v", calls, err)
	}
}

func TestUntilSaysWhyItGaveUp(t *testing.T) {
	died := errors.New("etcd died")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(died)
	err := Until(ctx, "the API server", func(context.Context) error { return errors.New("refused") })
	if !errors.Is(err, died) || !strings.Contains(err.Error(), "the API server") || !strings.Contains(err.Error(), "refused") {
		t.Fatalf("%v", err)
	}
}
