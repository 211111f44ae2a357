package main

import (
	"errors"
	"io"
	"text/template"
	"time"

	"push-server/configs"
	"push-server/protocol"
)

var tokenText = template.Must(template.New("").Parse(`token  {{.Token}}

{{if .Socket}}# listen to what is published to the user
websocat '{{.Socket}}'
{{else}}# no listener of this configuration has a route sub
{{end}}
{{if .Publish}}# publish to the user
curl -s -d '{{.Body}}' '{{.Publish}}'
{{else}}# no listener of this configuration has a route pub
{{end}}`))

// tokenLife is how long a token that is made here is good.
const tokenLife = time.Hour

// printToken makes a token of version 5 and prints the lines to try it.
func printToken(w io.Writer, c *configs.Config, user uint64, now time.Time) error {
	if !c.Push.V5.Enabled {
		return errors.New("push.v5.enabled is not set: no token would be looked at")
	}
	signer, err := newSigner(c)
	if err != nil {
		return err
	}
	t := struct{ Token, Socket, Publish, Body string }{
		Token: protocol.SignToken([]byte(c.Security.Key), user, now, now.Add(tokenLife)),
		Body:  protocol.ExampleCall(user),
	}
	if e, ok := findEndpoint(c, subRoute); ok {
		t.Socket = e.ws() + "?jsonRpc=true&token=" + t.Token
	}
	if e, ok := findEndpoint(c, pubRoute); ok {
		t.Publish = e.http() + "?hostId=example&signature=" + string(signer.AppendHex(nil, []byte(t.Body)))
	}
	return tokenText.Execute(w, t)
}
