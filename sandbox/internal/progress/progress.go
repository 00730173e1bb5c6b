// Package progress tells a person how long work is getting on.
package progress

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Printer writes steps with the time that has passed, one a line: it reads the
// same on a terminal and in the log of a CI job.
type Printer struct {
	mutex sync.Mutex
	to    io.Writer
	begin time.Time
	// told is when Transferred last wrote.
	told time.Time
}

// New starts the clock.
func New(to io.Writer) *Printer {
	now := time.Now()
	return &Printer{to: to, begin: now, told: now}
}

// Step writes something that was achieved.
func (p *Printer) Step(format string, arguments ...any) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.line(fmt.Sprintf(format, arguments...))
}

// interval is how often a long transfer is told.
const interval = 2 * time.Second

// Transferred tells how far a transfer is, now and then.
func (p *Printer) Transferred(what string, done, total int64) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if time.Since(p.told) < interval || total <= 0 {
		return
	}
	p.told = time.Now()
	p.line(fmt.Sprintf("%s: %d of %d MiB", what, done>>20, total>>20))
}

func (p *Printer) line(text string) {
	fmt.Fprintf(p.to, "%5.1fs  %s\n", time.Since(p.begin).Seconds(), text)
}
