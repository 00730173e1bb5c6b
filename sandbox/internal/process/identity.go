// Package process names processes in a way that survives the reuse of pids.
package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
)

// Identity is one process and no other: a pid alone may have been given to a
// stranger by the time that it is used.
type Identity struct {
	PID int `json:"pid"`
	// StartTicks is the start time in clock ticks since boot.
	StartTicks uint64 `json:"startTicks"`
	// Boot is the kernel's id of the boot that StartTicks counts from.
	Boot string `json:"boot"`
}

// Of identifies the process that has pid now.
func Of(pid int) (Identity, error) {
	stat, err := readStat(pid)
	if err != nil {
		return Identity{}, err
	}
	return Identity{PID: pid, StartTicks: stat.startTicks, Boot: bootID()}, nil
}

// Alive tells whether the process still runs. A zombie does not.
func (i Identity) Alive() bool {
	stat, err := readStat(i.PID)
	return err == nil && stat.state != "Z" && stat.startTicks == i.StartTicks && bootID() == i.Boot
}

type stat struct {
	state      string
	startTicks uint64
}

// Positions in /proc/PID/stat after the command name, see proc_pid_stat(5).
const (
	stateField      = 0
	startTicksField = 19
)

func readStat(pid int) (stat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(string(data))
}

// parseStat looks for the last parenthesis because a command name may contain
// spaces and parentheses itself.
func parseStat(line string) (stat, error) {
	_, rest, found := cutLast(line, ") ")
	fields := strings.Fields(rest)
	if !found || len(fields) <= startTicksField {
		return stat{}, fmt.Errorf("unexpected format of /proc/PID/stat: %q", line)
	}
	ticks, err := strconv.ParseUint(fields[startTicksField], 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("start time in /proc/PID/stat: %w", err)
	}
	return stat{state: fields[stateField], startTicks: ticks}, nil
}

func cutLast(s, separator string) (before, after string, found bool) {
	at := strings.LastIndex(s, separator)
	if at < 0 {
		return s, "", false
	}
	return s[:at], s[at+len(separator):], true
}

var bootID = sync.OnceValue(func() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
})

// Memory is what a process occupies, in bytes.
type Memory struct {
	// Resident counts every page that is mapped, shared ones in full.
	Resident int64 `json:"rssBytes"`
	// Proportional divides shared pages by the number of their users, so that
	// a sum over processes counts each page once.
	Proportional int64 `json:"pssBytes"`
}

// MemoryOf reads what the process occupies now.
func MemoryOf(pid int) (Memory, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return Memory{}, err
	}
	memory := Memory{
		Resident:     kibibytes(string(data), "Rss:"),
		Proportional: kibibytes(string(data), "Pss:"),
	}
	if memory.Resident == 0 {
		return memory, errors.New("no resident memory reported")
	}
	return memory, nil
}

func kibibytes(report, key string) int64 {
	for line := range strings.Lines(report) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != key {
			continue
		}
		value, err := strconv.ParseInt(fields[1], 10, 64)
		if err == nil {
			return value * 1024
		}
	}
	return 0
}
