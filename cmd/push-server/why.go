package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"push-server/cmd/push-server/internal/opsclient"
	"push-server/cmd/push-server/internal/why"
	"push-server/configs"
	"push-server/protocol"
)

func whyCommand(files *[]string) *cobra.Command {
	var id, mid string
	var ops []string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "why --config FILE --channel CHANNEL_ID [--mid ID]",
		Short: "Say what became of a publication: was it stored, who got it, who was away",
		Long: `Say in words what became of a publication of a channel: whether it was stored, when, and for how long; who is connected and got it;
whose connection was closed and why; what a client that comes now would get. It is the latest publication of the channel, or the one with
the id of --mid, which is also the last one that the client has seen of whom the last lines speak.

Redis is asked, and the running server where the configuration has push.metrics; of an installation of several processes, those of all
files that are given, and those that --ops names, with the token of the first. Nothing is changed. What cannot be known is said.

CHANNEL_ID is a private or public id, both as in private:public, with or without a signature, or a URL with the parameter CHANNEL_ID.
Exit codes: 0 answered, 1 failure, 2 wrong command line.`,
		Example: `  push-server why --config configs/standalone.json --channel ` + exampleSigned + `
  push-server why --config configs/standalone.json --channel ` + exampleChannel + ` --mid 17954614120000000000000001`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if id == "" {
				return usage(errors.New("a channel is missing: give --channel CHANNEL_ID"))
			}
			c, err := clientConfiguration(*files, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			answer, err := askWhy(ctx, c, append(windowsIn(*files), ops...), id, mid)
			if err != nil {
				return err
			}
			answer.Print(cmd.OutOrStdout())
			return nil
		},
	}
	cmd.Flags().StringVar(&id, "channel", "", "`CHANNEL_ID` that it is about")
	cmd.Flags().StringVar(&mid, "mid", "", "`ID` of the publication, 26 digits; absent: the latest one")
	cmd.Flags().StringArrayVar(&ops, "ops", nil, "`ADDRESS` of push.metrics of another process; may be given several times")
	cmd.Flags().DurationVar(&timeout, "timeout", 15*time.Second, "how long all questions together may take")
	return cmd
}

func askWhy(ctx context.Context, c *configs.Config, ops []string, id, mid string) (*why.Answer, error) {
	q := why.Question{Config: c, Now: time.Now}
	list, err := channelList(id)
	if err != nil {
		return nil, err
	}
	if strings.Contains(list, "/") {
		return nil, errors.New("these are several channel ids: ask for one of them at a time")
	}
	if q.Item, q.Signature, err = protocol.ParseItem([]byte(list)); err != nil {
		return nil, err
	}
	if mid != "" {
		var ok bool
		if q.Message, ok = protocol.ParseMessageID([]byte(mid)); !ok || q.Message.IsZero() {
			return nil, usage(fmt.Errorf("--mid %q is not the id of a message, which has 26 digits", mid))
		}
	}
	if c.Security.Key != "" {
		if q.Signer, err = newSigner(c); err != nil {
			return nil, err
		}
	}
	if c.Storage.Type == configs.StorageRedis {
		if q.Bus, err = redisBus(c, slog.New(slog.DiscardHandler)); err != nil {
			return nil, err
		}
		defer q.Bus.Close()
	}
	if q.Servers, err = windowsOf(c, ops); err != nil {
		return nil, err
	}
	for _, s := range q.Servers {
		defer s.HTTP.Close()
	}
	return q.Ask(ctx)
}

// windowsIn are the addresses of push.metrics in files, each of which another process may serve.
func windowsIn(files []string) (addrs []string) {
	all, _ := configs.Load(files...) // the problems are known
	for _, c := range all {
		addrs = append(addrs, c.Push.Metrics)
	}
	return addrs
}

// windowsOf are the windows of the server that serves c, and of others, each once.
func windowsOf(c *configs.Config, others []string) (all []*opsclient.Client, err error) {
	seen := map[string]bool{}
	for _, addr := range append([]string{c.Push.Metrics}, others...) {
		one := *c
		one.Push.Metrics = addr
		w, err := windowOf(&one)
		if err != nil {
			return nil, err
		}
		if w != nil && !seen[w.Address] {
			seen[w.Address] = true
			all = append(all, w)
		}
	}
	return all, nil
}
