package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net/url"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"push-server/configs"
	"push-server/protocol"
)

func channelCommand(files *[]string) *cobra.Command {
	var user uint64
	cmd := &cobra.Command{
		Use:   "channel --config FILE [CHANNEL_ID]",
		Short: "Make a signed channel id, or verify one",
		Long: `Without an argument: make a signed channel and print how to listen to it and publish to it.

With one: take a channel id apart and verify its signature with security.key of the configuration. CHANNEL_ID is a single id, the whole
value of the parameter CHANNEL_ID (several ids, percent-encoded or not), or a URL that contains it, as copied from a browser. The exit code
is 0 if a subscriber may use all of it, otherwise 1.

With --user: make a token of version 5 for this user, which is good for an hour, and print how to use it.`,
		Example: `  push-server channel --config configs/standalone.json
  push-server channel --config configs/standalone.json ` + exampleSigned + `
  push-server channel --config configs/standalone.json 'ws://127.0.0.1:8010/bitrix/subws/?CHANNEL_ID=` + exampleSigned + `&revision=19'
  push-server channel --config configs/standalone.json --user 17`,
		Args: between(0, 1, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := configuration(*files, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			switch {
			case len(args) > 0:
				return inspectChannels(cmd.OutOrStdout(), c, args[0])
			case user != 0:
				return printToken(cmd.OutOrStdout(), c, user, time.Now())
			}
			return printChannel(cmd.OutOrStdout(), c)
		},
	}
	cmd.Flags().Uint64Var(&user, "user", 0, "make a token of version 5 for the user with this id")
	return cmd
}

// The channel of README.md, signed with the key of configs/standalone.json.
const (
	exampleChannel = "0123456789abcdef0123456789abcdef"
	exampleSigned  = exampleChannel + ":fedcba9876543210fedcba9876543210.ac0b41487e6d3fe2108fce277cf1a05b8fccff38"
)

// channel is a fresh channel in the words of the template.
type channel struct {
	Private, Public   string
	Signed            string // as its owner names it in CHANNEL_ID
	Signature         string
	PublicSignature   string // for clients that publish to it
	Query             string // Signed for a URL
	Subscribe, Socket string // URLs, "" when no listener has the route
	Publish           string
}

func newChannel(c *configs.Config) (*channel, error) {
	signer, err := newSigner(c)
	if err != nil {
		return nil, err
	}
	item := randomItem()
	ch := &channel{
		Private:         hex.EncodeToString(item.Private[:]),
		Public:          hex.EncodeToString(item.Public[:]),
		Signed:          signer.SignItem(item),
		PublicSignature: hex.EncodeToString(signer.SignPublic(item.Public)),
	}
	_, ch.Signature, _ = strings.Cut(ch.Signed, ".")
	ch.Query = "?CHANNEL_ID=" + url.QueryEscape(ch.Signed)
	if e, ok := findEndpoint(c, subRoute); ok {
		ch.Subscribe, ch.Socket = e.http()+ch.Query, e.ws()+ch.Query
	}
	if e, ok := findEndpoint(c, pubRoute); ok {
		ch.Publish = e.http() + "?CHANNEL_ID=" + ch.Private
	}
	return ch, nil
}

// newSigner makes and checks the signatures of a configuration.
func newSigner(c *configs.Config) (*protocol.Signer, error) {
	if c.Security.Key == "" {
		return nil, errors.New("security.key is absent: nothing can be signed")
	}
	return protocol.NewSigner(c.Security.Algo, c.Security.All()...)
}

func randomItem() protocol.Item {
	item := protocol.Item{HasPublic: true}
	rand.Read(item.Private[:])
	rand.Read(item.Public[:])
	return item
}

// The head of the WebSocket answer is followed by frames, which curl shows with the two or four bytes before each text.
var channelText = template.Must(template.New("").Parse(`private id        {{.Private}}
public id         {{.Public}}
signature         {{.Signature}}
public signature  {{.PublicSignature}}
CHANNEL_ID        {{.Signed}}
{{if .Subscribe}}
# wait for one message
curl -s '{{.Subscribe}}'
{{else}}
# no listener of this configuration has a route sub
{{end}}{{if .Publish}}
# publish, in another terminal; a message waits 60 seconds for those who come late with a mid
curl -s -H 'Message-Expiry: 60' -d '{"hello":"world"}' '{{.Publish}}'
{{else}}
# no listener of this configuration has a route pub
{{end}}{{if .Subscribe}}
# listen to all messages over WebSocket: with websocat, in the console of a browser, or as raw frames with curl
websocat '{{.Socket}}'
new WebSocket('{{.Socket}}').onmessage = (m) => console.log(m.data)
curl -sN --http1.1 --output - -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==' '{{.Subscribe}}'
{{end}}`))

func printChannel(w io.Writer, c *configs.Config) error {
	ch, err := newChannel(c)
	if err != nil {
		return err
	}
	return channelText.Execute(w, ch)
}
