package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"push-server/cmd/push-server/internal/terminal"
	"push-server/configs"
)

func healthCommand(files *[]string) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "health --config FILE",
		Short: "Ask a running server whether it can serve, for health checks",
		Long: `Ask the server of a configuration, on this machine, whether it can serve. With push.metrics the answer is that of /readyz, which knows
about Redis. Without, every port is asked, and must answer as a push server does.

Prints one line. Exit codes: 0 it serves, 1 it does not, and the line is the reason, 2 wrong command line.`,
		Example: `  push-server health --config configs/standalone.json
  push-server health --config /etc/push-server --timeout 2s`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := clientConfiguration(*files, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return health(ctx, c, cmd.OutOrStdout())
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long all answers together may take")
	return cmd
}

func health(ctx context.Context, c *configs.Config, w io.Writer) error {
	if len(c.Servers) == 0 {
		return fmt.Errorf("%s has no listener: nothing is served", c.File)
	}
	if _, port, err := net.SplitHostPort(c.Push.Metrics); err == nil && port != "0" {
		text, err := askReady(ctx, reachable(c.Push.Metrics))
		if err != nil {
			return fmt.Errorf("push.metrics, %s: %w", c.Push.Metrics, lateness(err))
		}
		fmt.Fprintln(w, text)
		return nil
	}
	for i := range c.Servers {
		if err := askPort(ctx, &c.Servers[i]); err != nil {
			return fmt.Errorf("%s, %s: %w", c.Servers[i].Name, c.Servers[i].Address, lateness(err))
		}
	}
	fmt.Fprintln(w, count(len(c.Servers), "port"), "answered")
	return nil
}

// lateness says in plain words that the time is over.
func lateness(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	return err
}

// askReady returns the answer of /readyz in one line.
func askReady(ctx context.Context, addr string) (string, error) {
	client := terminal.NewClient(nil)
	defer client.Close()
	reply, err := client.Do(ctx, http.MethodGet, "http://"+addr+"/readyz", nil, nil)
	if err != nil {
		return "", err
	}
	text := strings.Join(strings.Split(strings.TrimSpace(string(reply.Body)), "\n"), ", ")
	switch {
	case reply.Status == http.StatusOK && strings.HasPrefix(text, "ready"):
		return text, nil
	case reply.Status == http.StatusServiceUnavailable && strings.HasPrefix(text, "not ready"):
		return "", errors.New(text)
	}
	return "", fmt.Errorf("another program answers there: %w", reply.Err())
}

// askPort asks a question that every push server answers at once, and that leaves no trace in logs and statistics: what may be sent from
// other origins. Only subscriptions have an answer to that, everything else is not found.
func askPort(ctx context.Context, l *configs.Server) error {
	want := http.StatusNotFound
	e := endpoint{l, "/"}
	if l.Routes.Sub != "" {
		want, e.path = http.StatusOK, l.Routes.Sub
	}
	if l.Port == 0 {
		return errors.New("it has no fixed port: set servers[].port or push.metrics")
	}
	trust, err := e.tls()
	if err != nil {
		return err
	}
	client := terminal.NewClient(trust)
	defer client.Close()
	reply, err := client.Do(ctx, http.MethodOptions, e.http(), nil, nil)
	switch {
	case err != nil:
		return err
	case reply.Status == http.StatusServiceUnavailable:
		return fmt.Errorf("no room for another connection: %w", reply.Err())
	case reply.Status != want || reply.Header.Get("Access-Control-Allow-Origin") == "":
		return fmt.Errorf("another program answers there: %w", reply.Err())
	}
	return nil
}
