package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"push-server/cmd/push-server/internal/terminal"
)

type publication struct {
	address
	expiry time.Duration
}

func publishCommand(files *[]string) *cobra.Command {
	p := &publication{address: address{files: files}}
	cmd := &cobra.Command{
		Use:   "publish {--config FILE | --url URL} CHANNEL_ID [BODY]",
		Short: "Publish a message, as the portal does",
		Long: `Publish a message through the first listener with a route pub, as the portal does. Without BODY, or if it is -, the body is read from
standard input. Several channel ids are separated by slashes. Only private ids count: public ids and signatures are accepted and ignored, so
an id may be given as a subscriber has it.

If the server has accepted the message but not stored it yet, as its Redis is slow or away, the output says so, and the exit code is 0.`,
		Example: `  push-server publish --config configs/standalone.json ` + exampleChannel + ` '{"hello":"world"}'
  push-server publish --config configs/standalone.json --expiry 1h ` + exampleChannel + `/` + otherChannel + ` '{"hello":"both"}'
  echo '{"hello":"pipe"}' | push-server publish --url http://127.0.0.1:9010/bitrix/pub/ ` + exampleChannel,
		Args: between(1, 2, "a channel id"),
		RunE: p.run,
	}
	p.register(cmd.Flags())
	cmd.Flags().DurationVar(&p.expiry, "expiry", 0, "keep the message for subscribers that are away, for example 1h; 0: do not")
	return cmd
}

const otherChannel = "00112233445566778899aabbccddeeff"

func (p *publication) run(cmd *cobra.Command, args []string) error {
	items, _, err := channelItems(args[:1])
	if err != nil {
		return err
	}
	seconds, err := wholeSeconds(p.expiry)
	if err != nil {
		return err
	}
	c, err := p.configuration(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	target, trust, err := p.find(c, "pub", pubRoute, endpoint.http)
	if err != nil {
		return err
	}
	body, err := readBody(args[1:], cmd.InOrStdin())
	if err != nil {
		return err
	}
	private := make([]string, 0, len(items))
	for _, it := range items {
		private = append(private, hex.EncodeToString(it.Private[:]))
	}
	client := terminal.NewClient(trust)
	defer client.Close()
	accepted, err := client.Publish(cmd.Context(), target, private, body, seconds)
	if err != nil {
		return err
	}
	what := "published"
	if accepted {
		what = "accepted, but not stored yet:"
	}
	fmt.Fprintln(cmd.OutOrStdout(), what, count(len(body), "byte"), "to", count(len(private), "channel"))
	return nil
}

func readBody(args []string, in io.Reader) (body []byte, err error) {
	if len(args) > 0 && args[0] != "-" {
		body = []byte(args[0])
	} else if body, err = io.ReadAll(in); err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	if len(body) == 0 {
		return nil, errors.New("the body is empty, and servers ignore such messages")
	}
	return body, nil
}

// wholeSeconds refuses what the protocol cannot say.
func wholeSeconds(d time.Duration) (int, error) {
	if d < 0 || d%time.Second != 0 {
		return 0, usage(fmt.Errorf("--expiry %v is not a number of seconds", d))
	}
	return int(d / time.Second), nil
}
