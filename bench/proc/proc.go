// Package proc reads what the kernel says about processes and about the machine.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the times in /proc/PID/stat: USER_HZ, which is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

var errFormat = errors.New("proc: not in the expected format")

// CPU is the processor time that processes have used.
type CPU struct {
	User, System time.Duration
}

// Total is user and system time.
func (c CPU) Total() time.Duration { return c.User + c.System }

// Sub is what was used since o.
func (c CPU) Sub(o CPU) CPU { return CPU{c.User - o.User, c.System - o.System} }

// CPUOf sums the processor time of processes. It is exact to 10 ms per process.
func CPUOf(pids ...int) (sum CPU, err error) {
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return sum, fmt.Errorf("proc: %w", err)
		}
		s, err := parseStat(b)
		if err != nil {
			return sum, err
		}
		sum.User += s.cpu.User
		sum.System += s.cpu.System
	}
	return sum, nil
}

type stat struct {
	parent int
	cpu    CPU
}

// parseStat reads /proc/PID/stat. The second field, the name in parentheses, may hold anything, parentheses and blanks among it.
func parseStat(b []byte) (s stat, err error) {
	end := bytes.LastIndexByte(b, ')')
	fields := strings.Fields(string(b[end+1:]))
	if end < 0 || len(fields) < 13 {
		return s, errFormat
	}
	// fields[0] is field 3 of proc(5): state; then the parent, …, 14 utime, 15 stime.
	var n [3]int64
	for i, field := range []string{fields[1], fields[11], fields[12]} {
		if n[i], err = strconv.ParseInt(field, 10, 64); err != nil {
			return s, errFormat
		}
	}
	return stat{parent: int(n[0]), cpu: CPU{User: time.Duration(n[1]) * tick, System: time.Duration(n[2]) * tick}}, nil
}

// Memory is what processes occupy, in bytes.
type Memory struct {
	RSS       int64
	PSS       int64 // shared pages divided among those who share them
	Anonymous int64
}

// MemoryOf sums the memory of processes.
func MemoryOf(pids ...int) (sum Memory, err error) {
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return sum, fmt.Errorf("proc: %w", err)
		}
		m, err := parseRollup(b)
		if err != nil {
			return sum, err
		}
		sum.RSS += m.RSS
		sum.PSS += m.PSS
		sum.Anonymous += m.Anonymous
	}
	return sum, nil
}

// parseRollup reads /proc/PID/smaps_rollup.
func parseRollup(b []byte) (m Memory, err error) {
	found := 0
	for _, want := range []struct {
		name string
		to   *int64
	}{{"Rss:", &m.RSS}, {"Pss:", &m.PSS}, {"Anonymous:", &m.Anonymous}} {
		for line := range strings.Lines(string(b)) {
			fields := strings.Fields(line)
			if len(fields) != 3 || fields[0] != want.name {
				continue
			}
			kb, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return m, errFormat
			}
			*want.to = kb << 10
			found++
		}
	}
	if found != 3 {
		return m, errFormat
	}
	return m, nil
}

// Descriptors is the number of open files of processes.
func Descriptors(pids ...int) (n int, err error) {
	for _, pid := range pids {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			return n, fmt.Errorf("proc: %w", err)
		}
		n += len(entries)
	}
	return n, nil
}

// Children are the direct children of a process.
func Children(pid int) (pids []int, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("proc: %w", err)
	}
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended meanwhile
		}
		if s, err := parseStat(b); err == nil && s.parent == pid {
			pids = append(pids, child)
		}
	}
	return pids, nil
}

// Busy is the processor time that all processes of the machine have used together, and what the hypervisor took away. Interrupts,
// which belong to nobody, are left out.
func Busy() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("proc: %w", err)
	}
	return parseBusy(b)
}

// parseBusy reads the first line of /proc/stat: cpu user nice system idle iowait irq softirq steal …
func parseBusy(b []byte) (sum time.Duration, err error) {
	line, _, _ := strings.Cut(string(b), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, errFormat
	}
	for _, i := range []int{1, 2, 3, 8} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, errFormat
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}
