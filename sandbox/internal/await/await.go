// Package await waits for conditions.
package await

import (
	"context"
	"fmt"
	"time"
)

// interval is short because a start is measured in tenths of a second.
const interval = 20 * time.Millisecond

// Until calls check until it returns nil. When the context ends first, the
// error says why it ended and what check last complained about.
func Until(ctx context.Context, what string, check func(context.Context) error) error {
	for {
		complaint := check(ctx)
		if complaint == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (last: %v)", what, context.Cause(ctx), complaint)
		case <-time.After(interval):
		}
	}
}
