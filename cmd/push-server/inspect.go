package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"push-server/configs"
	"push-server/protocol"
)

// inspectChannels prints what a channel id or a list of them says, and what is wrong with it.
func inspectChannels(w io.Writer, c *configs.Config, arg string) error {
	signer, err := newSigner(c)
	if err != nil {
		return err
	}
	list, err := channelList(arg)
	if err != nil {
		return err
	}
	items, refused := strings.Split(list, "/"), 0
	for i, text := range items {
		if len(items) > 1 {
			fmt.Fprintf(w, "channel id %d of %d\n", i+1, len(items))
		}
		if !inspectItem(w, signer, text) {
			refused++
		}
	}
	switch {
	case refused == 0:
		return nil
	case len(items) == 1:
		return fmt.Errorf("a subscriber with this channel id is refused (%w)", protocol.ErrWrongChannel)
	}
	return fmt.Errorf("%d of %d channel ids are bad: a subscriber is refused if one of them is (%w)", refused, len(items), protocol.ErrWrongChannel)
}

// inspectItem says whether a subscriber may use the item.
func inspectItem(w io.Writer, signer *protocol.Signer, text string) bool {
	it, signature, err := protocol.ParseItem([]byte(text))
	if err != nil {
		fmt.Fprintf(w, "malformed   %v\n", err)
		return false
	}
	fmt.Fprintf(w, "private id  %x\n", it.Private)
	if it.HasPublic {
		fmt.Fprintf(w, "public id   %x\n", it.Public)
	} else {
		fmt.Fprintln(w, "public id   none")
	}
	ok := signer.ValidItem(&it, signature)
	verdict := "right"
	if n := signer.Keys(); n > 1 {
		verdict = fmt.Sprintf("right, signed with key %d of %d", signer.Used()+1, n)
		if signer.Used() > 0 {
			verdict += ", an older one"
		}
	}
	if !ok {
		verdict = whyInvalid(signer, it, signature)
	}
	fmt.Fprintf(w, "signature   %s\n", verdict)
	return ok
}

// whyInvalid tells the mistakes apart that people make with signatures. It never shows the right one.
func whyInvalid(signer *protocol.Signer, it protocol.Item, signature []byte) string {
	if len(signature) == 0 {
		return "missing: subscribers need one, back ends publish to a private id without"
	}
	if want := len(signer.AppendHex(nil, nil)); len(signature) != want {
		return fmt.Sprintf("wrong: it has %d digits, those made with security.algo of this configuration have %d", len(signature), want)
	}
	private := protocol.Item{Private: it.Private}
	if it.HasPublic && signer.ValidItem(&private, signature) {
		return "wrong: it is that of the private id alone, not of both ids"
	}
	raw := make([]byte, hex.DecodedLen(len(signature)))
	if _, err := hex.Decode(raw, signature); err == nil && (signer.ValidPublic(it.Public[:], raw) || signer.ValidPublic(it.Private[:], raw)) {
		return "wrong: it allows to publish to the public id, not to subscribe"
	}
	return "signed with another key, or for other ids"
}

// channelList takes the value of CHANNEL_ID out of what somebody has at hand: the value itself, percent-encoded or not, a query string
// or a URL.
func channelList(arg string) (string, error) {
	arg = strings.TrimSpace(arg)
	_, query, isURL := strings.Cut(arg, "?")
	switch {
	case isURL:
		query, _, _ = strings.Cut(query, "?") // the server reads no further either
	case strings.Contains(arg, "="):
		query = arg
	case strings.Contains(arg, "://"):
		return "", errNoChannelID
	default:
		if decoded, err := url.QueryUnescape(arg); err == nil {
			return decoded, nil
		}
		return arg, nil
	}
	values, _ := url.ParseQuery(query) // what cannot be decoded is left out
	if list := values.Get("CHANNEL_ID"); list != "" {
		return list, nil
	}
	return "", errNoChannelID
}

var errNoChannelID = errors.New("the URL has no parameter CHANNEL_ID")
