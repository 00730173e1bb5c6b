// Command cronslots says when the CronJob controller of Kubernetes would start Jobs. Tests hold our
// own slots to it.
//
// It reads {"schedule", "zone", "after", "count"} as JSON, one case after the other, and answers
// each with a line: the next slots as seconds since 1970, or null when there is none. For some
// schedules around changes of clocks at midnight the library never comes to an end, and neither does
// the real controller: "endless" is the answer then.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/robfig/cron/v3"
)

type question struct {
	Schedule string `json:"schedule"`
	Zone     string `json:"zone"`
	After    int64  `json:"after"`
	Count    int    `json:"count"`
}

func main() {
	if err := answerAll(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "cronslots:", err)
		os.Exit(1)
	}
}

func answerAll(in io.Reader, out io.Writer) error {
	questions := json.NewDecoder(bufio.NewReader(in))
	buffered := bufio.NewWriter(out)
	answers := json.NewEncoder(buffered)
	for {
		var asked question
		if err := questions.Decode(&asked); errors.Is(err, io.EOF) {
			return buffered.Flush()
		} else if err != nil {
			return err
		}
		answer, err := asked.answer()
		if err != nil {
			return err
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
}

// patience is a thousand times what an answer takes.
const patience = 2 * time.Second

// answer is the slots, or "endless".
func (q question) answer() (any, error) {
	schedule, err := cron.ParseStandard("TZ=" + q.Zone + " " + q.Schedule)
	if err != nil {
		return nil, err
	}
	found := make(chan []int64, 1)
	go func() { found <- q.slots(schedule) }()
	select {
	case slots := <-found:
		return slots, nil
	case <-time.After(patience):
		return "endless", nil
	}
}

// slots asks as the controller does: the zone is part of the schedule's text, and the time in that of
// the process.
func (q question) slots(schedule cron.Schedule) []int64 {
	var slots []int64
	for slot := time.Unix(q.After, 0); len(slots) < q.Count; {
		if slot = schedule.Next(slot); slot.IsZero() {
			break
		}
		slots = append(slots, slot.Unix())
	}
	return slots
}
