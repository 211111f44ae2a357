package target

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Redis is a private instance without persistence.
type Redis struct {
	PID    int
	Socket string // path of its Unix socket; "" if it is not ours
	Port   int
}

// startRedis starts an instance. It has a port as well, for servers that cannot use a Unix socket.
func (r *Running) startRedis(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	r.Redis = &Redis{Socket: filepath.Join(r.folder, "redis.sock"), Port: port}
	p, err := r.run("redis", exec.Command("redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1",
		"--unixsocket", r.Redis.Socket, "--save", "", "--appendonly", "no", "--dir", r.folder))
	if err != nil {
		return err
	}
	r.Redis.PID = p.pid()
	return r.awaitAddress(ctx, "unix", r.Redis.Socket)
}

// Calls is how often each command has been called since the start, by name in lower case.
func (r *Redis) Calls() (map[string]int64, error) {
	text, err := r.info("commandstats")
	if err != nil {
		return nil, err
	}
	calls := make(map[string]int64)
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), ":calls=")
		if !ok {
			continue
		}
		count, _, _ := strings.Cut(rest, ",")
		n, err := strconv.ParseInt(count, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("target: INFO of Redis: %w", err)
		}
		calls[strings.TrimPrefix(name, "cmdstat_")] = n
	}
	return calls, nil
}

// info asks for a section of INFO; "" when the instance is not ours.
func (r *Redis) info(section string) (string, error) {
	if r.Socket == "" {
		return "", nil
	}
	c, err := net.Dial("unix", r.Socket)
	if err != nil {
		return "", fmt.Errorf("target: %w", err)
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "INFO %s\r\n", section); err != nil {
		return "", fmt.Errorf("target: %w", err)
	}
	in := bufio.NewReader(c)
	line, err := in.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("target: INFO of Redis: %w", err)
	}
	size, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "$")))
	if err != nil {
		return "", fmt.Errorf("target: INFO of Redis answered %q", line)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(in, text); err != nil {
		return "", fmt.Errorf("target: INFO of Redis: %w", err)
	}
	return string(text), nil
}
