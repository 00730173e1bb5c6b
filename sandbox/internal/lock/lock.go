// Package lock keeps commands on one sandbox from getting in each other's way.
package lock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Lock is held until released or until its process ends, however it ends.
type Lock struct{ file *os.File }

// interval is how often a taken lock is tried again.
const interval = 100 * time.Millisecond

// Take locks path, a directory or a file that is created when missing. It
// calls waiting once when somebody else holds the lock.
func Take(ctx context.Context, path string, waiting func()) (*Lock, error) {
	file, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	for waited := false; ; waited = true {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return &Lock{file}, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			file.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !waited {
			waiting()
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, ctx.Err()
		case <-time.After(interval):
		}
	}
}

func open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return os.Open(path)
	}
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}

// Release lets others take the lock.
func (l *Lock) Release() { l.file.Close() }
