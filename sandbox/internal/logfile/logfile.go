// Package logfile writes and reads the logs of components.
package logfile

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Open opens the log for appending and notes that a program starts.
func Open(path, program string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", program, err)
	}
	_, err = fmt.Fprintf(file, "=== %s starts at %s\n", program, time.Now().Format(time.RFC3339Nano))
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("write the log of %s: %w", program, err)
	}
	return file, nil
}

// tailBytes is how far back the tail of a log is looked for.
const tailBytes = 64 << 10

// Tail returns the last lines of a log.
func Tail(path string, lines int) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	start := max(0, info.Size()-tailBytes)
	content, err := io.ReadAll(io.NewSectionReader(file, start, tailBytes))
	if err != nil {
		return "", err
	}
	return lastLines(content, lines, start > 0), nil
}

// lastLines drops the first line when it may be cut off at its start.
func lastLines(content []byte, lines int, cut bool) string {
	all := strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
	if cut && len(all) > 1 {
		all = all[1:]
	}
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// followInterval is how often a followed log is looked at.
const followInterval = 200 * time.Millisecond

// Follow copies the log and whatever is appended to it, until the context
// ends.
func Follow(ctx context.Context, path string, to io.Writer) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	for {
		if _, err := io.Copy(to, file); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followInterval):
		}
	}
}

// Copy writes the whole log, or only its last lines when lines is positive.
func Copy(path string, lines int, to io.Writer) error {
	if lines > 0 {
		tail, err := Tail(path, lines)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(to, tail)
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(to, file)
	return err
}
