package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"push-server/cmd/push-server/internal/terminal"
	"push-server/configs"
	"push-server/protocol"
)

// subscriber is the command subscribe.
type subscriber struct {
	address
	poll, protobuf, json bool
	mid                  string
	count, expect        int
	timeout              time.Duration

	out io.Writer
	got int
}

func subscribeCommand(files *[]string) *cobra.Command {
	s := &subscriber{address: address{files: files}}
	cmd := &cobra.Command{
		Use:   "subscribe {--config FILE | --url URL} [CHANNEL_ID...]",
		Short: "Subscribe to channels and print their messages",
		Long: `Subscribe to channels over WebSocket or long poll and print a line for each message: its id (the mid to go on from) and its body. When the
connection is lost, a new one goes on from the last message, so nothing is missed that the server still has.

A channel id is signed with security.key of the configuration unless it is signed already. Without a channel id, a random one is used and
printed. What concerns the connection goes to standard error.

Exit codes: 0 --count or --expect was reached, the time is over, or it was interrupted; 1 failure, such as a refused channel id or no
connection when the time is over; 2 wrong command line; 3 --expect was not met within --timeout.`,
		Example: `  push-server subscribe --config configs/standalone.json
  push-server subscribe --config configs/standalone.json --poll --json --count 1 ` + exampleChannel + `
  push-server subscribe --config configs/standalone.json --protobuf --expect 2 --timeout 30s ` + exampleChannel + `
  push-server subscribe --url ws://127.0.0.1:8010/bitrix/subws/ --mid 00000000000000000000000000 --count 1 ` + exampleSigned,
		RunE: s.run,
	}
	flags := cmd.Flags()
	s.register(flags)
	flags.BoolVar(&s.poll, "poll", false, "use long poll instead of WebSocket")
	flags.BoolVar(&s.protobuf, "protobuf", false, "use the binary framing (binaryMode=true) instead of text")
	flags.BoolVar(&s.json, "json", false, "print JSON objects: mid and body, with --protobuf also created, sender and from")
	flags.StringVar(&s.mid, "mid", "", "begin with the messages behind `MID`, 26 digits; all zeros: with everything there is")
	flags.IntVar(&s.count, "count", 0, "end after `N` messages")
	flags.IntVar(&s.expect, "expect", 0, "end after `N` messages, and fail with exit code 3 if --timeout is over before; 0: fail if one comes")
	flags.DurationVar(&s.timeout, "timeout", 0, "end after this time, for example 30s")
	return cmd
}

var (
	// errUnexpected is wrapped by the errors of --expect.
	errUnexpected = errors.New("--expect was not met")
	// errEnough ends a subscription that has what it wants.
	errEnough = errors.New("enough")
)

func (s *subscriber) run(cmd *cobra.Command, args []string) error {
	expecting := cmd.Flags().Changed("expect")
	if err := s.checkFlags(expecting, cmd.Flags().Changed("count")); err != nil {
		return err
	}
	if !expecting {
		s.expect = -1
	}
	s.out = cmd.OutOrStdout()
	sub, err := s.subscription(args, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if s.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	err = sub.Run(ctx)
	switch {
	case err != nil && !errors.Is(err, errEnough):
		return err
	case expecting && s.got != s.expect:
		return fmt.Errorf("%w: %s instead of %d", errUnexpected, count(s.got, "message"), s.expect)
	}
	return nil
}

func (s *subscriber) checkFlags(expecting, counting bool) error {
	switch {
	case expecting && counting:
		return usage(errors.New("--count and --expect exclude each other"))
	case expecting && s.timeout <= 0:
		return usage(errors.New("--expect needs --timeout"))
	case s.expect < 0, s.timeout < 0:
		return usage(errors.New("--expect and --timeout cannot be negative"))
	case counting && s.count < 1:
		return usage(errors.New("--count must be at least 1"))
	}
	if _, ok := protocol.ParseMessageID([]byte(s.mid)); s.mid != "" && !ok {
		return usage(fmt.Errorf("--mid %q is not a message id: that has 26 digits", s.mid))
	}
	return nil
}

func (s *subscriber) subscription(args []string, stderr io.Writer) (*terminal.Subscription, error) {
	c, err := s.configuration(stderr)
	if err != nil {
		return nil, err
	}
	at := endpoint.ws
	if s.poll {
		at = endpoint.http
	}
	target, trust, err := s.find(c, "sub", subRoute, at)
	if err != nil {
		return nil, err
	}
	u, err := subscribeURL(target, s.poll)
	if err != nil {
		return nil, err
	}
	query := u.Query()
	if len(args) > 0 || !query.Has("CHANNEL_ID") {
		list, err := signedChannels(c, args, stderr)
		if err != nil {
			return nil, err
		}
		query.Set("CHANNEL_ID", list)
	}
	u.RawQuery = query.Encode()
	return &terminal.Subscription{
		URL: u.String(), Poll: s.poll, Protobuf: s.protobuf, Mid: s.mid, TLS: trust,
		Deliver: s.deliver,
		Notice:  func(text string, _ bool) { fmt.Fprintln(stderr, text) },
	}, nil
}

// subscribeURL takes the schemes of HTTP for a WebSocket and the other way round: the address is the same.
func subscribeURL(target string, poll bool) (*url.URL, error) {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" {
		return nil, usage(errors.New("--url is not a URL with a scheme and a host"))
	}
	plain, encrypted := "ws", "wss"
	if poll {
		plain, encrypted = "http", "https"
	}
	switch u.Scheme {
	case "ws", "http":
		u.Scheme = plain
	case "wss", "https":
		u.Scheme = encrypted
	default:
		return nil, usage(fmt.Errorf("--url has the scheme %q, not ws, wss, http or https", u.Scheme))
	}
	return u, nil
}

// signedChannels is the value of CHANNEL_ID. c may be nil if all are signed.
func signedChannels(c *configs.Config, args []string, stderr io.Writer) (string, error) {
	items, texts, err := channelItems(args)
	if err != nil {
		return "", err
	}
	var signer *protocol.Signer
	if c != nil {
		if signer, err = newSigner(c); err != nil {
			return "", err
		}
	}
	if len(items) == 0 && signer == nil {
		return "", usage(errors.New("no channel: name a signed one, or give --config FILE"))
	}
	if len(items) == 0 {
		it := randomItem()
		fmt.Fprintf(stderr, "private id %x\npublic id %x\n", it.Private, it.Public)
		return signer.SignItem(it), nil
	}
	for i, it := range items {
		if strings.Contains(texts[i], ".") {
			continue
		}
		if signer == nil {
			return "", usage(fmt.Errorf("channel id %d is not signed: give --config FILE, whose security.key signs it", i+1))
		}
		texts[i] = signer.SignItem(it)
	}
	return strings.Join(texts, "/"), nil
}

// deliver prints a message.
func (s *subscriber) deliver(m *terminal.Message) error {
	line := m.Line()
	if s.json {
		line = m.JSON()
	}
	if _, err := fmt.Fprintln(s.out, line); err != nil {
		return err
	}
	s.got++
	if s.got == s.count || s.expect >= 0 && s.got >= s.expect {
		return errEnough
	}
	return nil
}
