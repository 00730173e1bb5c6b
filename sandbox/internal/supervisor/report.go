package supervisor

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Message is what the supervisor tells the process that started it: one JSON
// object a line, on the file descriptor ReportFD.
type Message struct {
	// Step is something that was achieved.
	Step string `json:"step,omitempty"`
	// Failure is why the cluster did not come up.
	Failure string `json:"failure,omitempty"`
	// Ready is the last message of a supervisor that stays.
	Ready bool `json:"ready,omitempty"`
}

// ReportFD is the file descriptor that the supervisor reports to.
const ReportFD = 3

// Report tells the starting process how the boot goes, and the log everything.
type Report struct {
	mutex sync.Mutex
	to    io.WriteCloser
}

// Step reports something achieved.
func (r *Report) Step(format string, arguments ...any) {
	r.tell(Message{Step: fmt.Sprintf(format, arguments...)})
}

// Fail reports why the boot failed.
func (r *Report) Fail(err error) { r.tell(Message{Failure: err.Error()}) }

// Ready reports success and ends the reporting.
func (r *Report) Ready() {
	r.tell(Message{Ready: true})
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.to.Close()
}

func (r *Report) tell(message Message) {
	line, err := json.Marshal(message)
	if err != nil {
		line = []byte(err.Error())
	}
	r.Log("%s", line)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	// A starter that has gone is noticed elsewhere: the boot is cancelled.
	_, _ = r.to.Write(append(line, '\n'))
}

// Log writes to the supervisor's own log.
func (r *Report) Log(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format(time.RFC3339Nano), fmt.Sprintf(format, arguments...))
}
