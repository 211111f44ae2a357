package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"push-server/cmd/push-server/internal/opsclient"
	"push-server/cmd/push-server/internal/terminal"
	"push-server/configs"
)

var (
	errDiffers      = errors.New("the configurations differ")
	errIncomparable = errors.New("the configurations cannot be compared")
)

// installed is where packages and make install look for configurations.
const installed = "/etc/push-server"

func diffCommand(files *[]string) *cobra.Command {
	var against []string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "diff --config NEW [--against OLD]",
		Short: "Say what another configuration would change, and what it takes: SIGHUP, an upgrade or a restart",
		Long: `Say key by key in what a configuration differs from the one that counts now, and whether SIGHUP is
enough for that, or push-server upgrade, which disconnects nobody either, or a restart is needed.
Problems of it are printed first, as check does.

What counts now is asked of the running server, at the push.metrics of NEW. It does not tell secrets, so that those are not compared. Where it
does not answer, or NEW has no push.metrics, NEW is compared with ` + installed + `. OLD is a file or a folder to compare with instead.

Exit codes: 0 nothing differs, 1 something does, 2 the configurations cannot be compared, or a wrong command line.`,
		Example: `  push-server diff --config configs/standalone.json --against /etc/push-server`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			c, err := configuration(*files, cmd.OutOrStdout())
			if err != nil {
				return fmt.Errorf("%w: %w", errIncomparable, err)
			}
			old, err := counting(ctx, c, against, cmd.ErrOrStderr())
			if err != nil {
				return fmt.Errorf("%w: %w", errIncomparable, err)
			}
			return old.diff(c, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringArrayVar(&against, "against", nil, "`OLD` configuration, a file or folder; may be given several times; absent: that of the running server")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long the running server may take to answer")
	return cmd
}

// counted is what counts now. One of config and values is there.
type counted struct {
	name   string
	config *configs.Config
	values []configs.Value // of a server, without secrets
}

// counting finds out what counts now: what the files say, or the server that serves where c would.
func counting(ctx context.Context, c *configs.Config, files []string, w io.Writer) (*counted, error) {
	if len(files) > 0 {
		old, err := clientConfiguration(files, w)
		return &counted{name: strings.Join(files, ", "), config: old}, err
	}
	win, err := windowOf(c)
	if err != nil {
		return nil, err
	}
	reason := errors.New("it has no push.metrics, where the running server would tell what counts")
	if win != nil {
		defer win.HTTP.Close()
		var shown struct {
			Options []configs.Value `json:"options"`
		}
		if err = win.Get(ctx, "/config", nil, &shown); err == nil {
			return &counted{name: "the server at " + win.Address, values: shown.Options}, nil
		}
		reason = fmt.Errorf("the server at %s does not tell what counts: %w", win.Address, lateness(err))
	}
	if _, err := os.Stat(installed); err != nil {
		return nil, fmt.Errorf("%w, and there is no %s; give --against OLD", reason, installed)
	}
	fmt.Fprintf(w, "comparing with %s: %v\n", installed, reason)
	old, err := clientConfiguration([]string{installed}, w)
	return &counted{name: installed, config: old}, err
}

// windowOf is the window of the server that serves c; nil: it has none.
func windowOf(c *configs.Config) (*opsclient.Client, error) {
	if _, port, err := net.SplitHostPort(c.Push.Metrics); err != nil || port == "0" {
		return nil, nil
	}
	token, err := c.Push.Operators.Secret()
	if err != nil {
		return nil, fmt.Errorf("push.operators: %w", err)
	}
	return &opsclient.Client{Address: reachable(c.Push.Metrics), Token: token, HTTP: terminal.NewClient(nil)}, nil
}

// diff prints in what c differs.
func (old *counted) diff(c *configs.Config, w io.Writer) error {
	var all []configs.Difference
	var hidden []string
	if old.config != nil {
		all = old.config.Differences(c)
	} else {
		all, hidden = configs.Compare(old.values, c.Effective())
	}
	var counts []string
	for _, g := range []struct{ change, title, sum string }{
		{"SIGHUP", "takes effect with SIGHUP", "with SIGHUP"}, {"upgrade", "takes effect with an upgrade", "with an upgrade"},
		{"restart", "needs a restart", "with a restart"},
	} {
		if n := printDifferences(w, g.title, g.change, all); n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, g.sum))
		}
	}
	if len(hidden) > 0 {
		fmt.Fprintf(w, "not compared, since they are secrets, which %s does not tell: %s\n", old.name, strings.Join(hidden, ", "))
	}
	if len(all) == 0 {
		fmt.Fprintf(w, "no key differs from %s\n", old.name)
		return nil
	}
	return fmt.Errorf("%w: %s, %s", errDiffers, count(len(all), "key"), strings.Join(counts, ", "))
}

func printDifferences(w io.Writer, title, change string, all []configs.Difference) (n int) {
	for _, d := range all {
		if d.Change.String() != change {
			continue
		}
		if n == 0 {
			fmt.Fprintf(w, "%s:\n", title)
		}
		n++
		from, to := d.Text()
		fmt.Fprintf(w, "  %s: %s → %s\n", d.Key, from, to)
	}
	return n
}
