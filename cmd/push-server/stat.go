package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"push-server/cmd/push-server/internal/terminal"
)

// statTime is longer than a server waits for its Redis.
const statTime = 30 * time.Second

func statCommand(files *[]string) *cobra.Command {
	a := &address{files: files}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stat {--config FILE | --url URL}",
		Short: "Print the statistics of all processes",
		Long: `Print the statistics of all processes that share a Redis, from the first listener with a route stat: connections and channels as they were
at most a minute ago (AGE), messages and requests since midnight. Node processes are among them.`,
		Example: `  push-server stat --config configs/standalone.json
  push-server stat --url http://127.0.0.1:9010/server-stat/ --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.configuration(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			target, trust, err := a.find(c, "stat", statRoute, endpoint.http)
			if err != nil {
				return err
			}
			client := terminal.NewClient(trust)
			defer client.Close()
			page, err := askStat(cmd.Context(), client, target)
			if err != nil {
				return err
			}
			if asJSON {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", bytes.TrimSpace(page))
				return err
			}
			return printStat(cmd.OutOrStdout(), page, time.Now())
		},
	}
	a.register(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the JSON of the server as it is")
	return cmd
}

func askStat(ctx context.Context, client *terminal.Client, target string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, statTime)
	defer cancel()
	reply, err := client.Do(ctx, http.MethodGet, target, nil, nil)
	switch {
	case err != nil:
		return nil, lateness(err)
	case reply.Status == http.StatusForbidden:
		return nil, fmt.Errorf("%w: push.statAllow of the server does not have this address", reply.Err())
	case reply.Status == http.StatusNotFound:
		return nil, fmt.Errorf("%w: the server has no route stat at this address", reply.Err())
	case reply.Status != http.StatusOK:
		return nil, reply.Err()
	}
	return reply.Body, nil
}

// processStat is one process on the page of statistics. A Node process may have a number for a name.
type processStat struct {
	PID        int   `json:"pid"`
	Date       int64 `json:"date"` // ms
	Name       any   `json:"processUniqueId"`
	Channels   int   `json:"channels"`
	WebSockets int   `json:"websockets"`
	Polls      int   `json:"pollings"`
	Daily      struct {
		Requests map[string]int `json:"requests"`
		Messages map[string]int `json:"messages"`
	} `json:"daily"`
}

func (p *processStat) name() string { return fmt.Sprint(p.Name) }

func printStat(w io.Writer, page []byte, now time.Time) error {
	var all []processStat
	if err := json.Unmarshal(page, &all); err != nil {
		return fmt.Errorf("what came is not the statistics of a push server: %w", err)
	}
	if len(all) == 0 {
		return errors.New("the server has no statistics: it cannot reach its Redis")
	}
	slices.SortFunc(all, func(a, b processStat) int { return cmp.Compare(a.name(), b.name()) })
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PROCESS\tPID\tAGE\tWEBSOCKETS\tPOLLS\tCHANNELS\tMESSAGES\tREQUESTS")
	var sum processStat
	messages, requests := 0, 0
	for _, p := range all {
		age := max(now.Sub(time.UnixMilli(p.Date)).Round(time.Second), 0)
		m, r := total(p.Daily.Messages), total(p.Daily.Requests)
		fmt.Fprintf(table, "%s\t%d\t%v\t%d\t%d\t%d\t%d\t%d\n", printable(p.name()), p.PID, age, p.WebSockets, p.Polls, p.Channels, m, r)
		sum.WebSockets, sum.Polls, messages, requests = sum.WebSockets+p.WebSockets, sum.Polls+p.Polls, messages+m, requests+r
	}
	if len(all) > 1 { // channels of several processes may be the same ones
		fmt.Fprintf(table, "all %d\t\t\t%d\t%d\t\t%d\t%d\n", len(all), sum.WebSockets, sum.Polls, messages, requests)
	}
	return table.Flush()
}

func total(counters map[string]int) (n int) {
	for _, v := range counters {
		n += v
	}
	return n
}

// printable keeps what moves cursors out of a table: anybody who reaches Redis can choose the name of a process.
func printable(text string) string { return strings.Trim(fmt.Sprintf("%q", text), `"`) }
