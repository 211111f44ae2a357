package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net/url"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"push-server/configs"
	"push-server/protocol"
)

func channelCommand(files *[]string) *cobra.Command {
	return &cobra.Command{
		Use:     "channel --config FILE",
		Short:   "Invent a channel and print how to listen to it and publish to it",
		Example: "  push-server channel --config configs/standalone.json",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := configuration(*files, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return printChannel(cmd.OutOrStdout(), c)
		},
	}
}

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
	if c.Security.Key == "" {
		return nil, errors.New("security.key is absent: nothing can be signed")
	}
	signer, err := protocol.NewSigner(c.Security.Algo, []byte(c.Security.Key))
	if err != nil {
		return nil, err
	}
	item := protocol.Item{HasPublic: true}
	rand.Read(item.Private[:])
	rand.Read(item.Public[:])
	ch := &channel{
		Private:         hex.EncodeToString(item.Private[:]),
		Public:          hex.EncodeToString(item.Public[:]),
		Signed:          signer.SignItem(item),
		PublicSignature: hex.EncodeToString(signer.SignPublic(item.Public)),
	}
	_, ch.Signature, _ = strings.Cut(ch.Signed, ".")
	ch.Query = "?CHANNEL_ID=" + url.QueryEscape(ch.Signed)
	ch.addresses(c)
	return ch, nil
}

func (ch *channel) addresses(c *configs.Config) {
	for _, s := range c.Servers {
		http, ws := schemes(&s)
		at := "://" + reachable(s.Address)
		if s.Routes.Sub != "" && ch.Subscribe == "" {
			ch.Subscribe, ch.Socket = http+at+s.Routes.Sub+ch.Query, ws+at+s.Routes.Sub+ch.Query
		}
		if s.Routes.Pub != "" && ch.Publish == "" {
			ch.Publish = http + at + s.Routes.Pub + "?CHANNEL_ID=" + ch.Private
		}
	}
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
