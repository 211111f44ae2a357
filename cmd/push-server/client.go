package main

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"push-server/cmd/push-server/internal/terminal"
	"push-server/configs"
	"push-server/protocol"
)

// address is how the commands that talk to a server find it: in a configuration, or by a URL.
type address struct {
	files    *[]string
	url      string
	insecure bool
}

func (a *address) register(flags *pflag.FlagSet) {
	flags.StringVar(&a.url, "url", "", "`URL` of the server; goes before the address in the configuration")
	flags.BoolVar(&a.insecure, "insecure", false, "with --url: accept any certificate")
}

// configuration is nil if none was named, which is fine where there is a URL.
func (a *address) configuration(w io.Writer) (*configs.Config, error) {
	if len(*a.files) == 0 && a.url != "" {
		return nil, nil
	}
	c, err := clientConfiguration(*a.files, w)
	if errors.Is(err, errNoConfiguration) {
		return nil, usage(errors.New("no server: give --config FILE or --url URL"))
	}
	return c, err
}

// find is the URL of a route, and what to trust there. name is that of the route in the file.
func (a *address) find(c *configs.Config, name string, route func(configs.Routes) string, at func(endpoint) string) (string, *tls.Config, error) {
	if a.url != "" {
		return a.url, a.trust(), nil
	}
	e, err := needEndpoint(c, name, route)
	if err != nil {
		return "", nil, err
	}
	trust, err := e.tls()
	return at(e), trust, err
}

func (a *address) trust() *tls.Config {
	if !a.insecure {
		return nil
	}
	return &tls.Config{InsecureSkipVerify: true}
}

// needEndpoint is findEndpoint for those who connect to it. name is the route's in the file.
func needEndpoint(c *configs.Config, name string, route func(configs.Routes) string) (endpoint, error) {
	e, ok := findEndpoint(c, route)
	switch {
	case !ok:
		return e, fmt.Errorf("no listener of %s has a route %s", c.File, name)
	case e.listener.Port == 0:
		return e, fmt.Errorf("%s: the listener with the route %s has no fixed port: set servers[].port, or name the address with --url", c.File, name)
	}
	return e, nil
}

// tls trusts the certificate of the file and no other: its name is that of the portal, not that of this machine.
func (e endpoint) tls() (*tls.Config, error) {
	if e.listener.SSL == nil {
		return nil, nil
	}
	text, err := os.ReadFile(e.listener.SSL.Cert)
	if err != nil {
		return nil, fmt.Errorf("servers[].ssl.cert: %w", err)
	}
	certificate, _ := pem.Decode(text)
	if certificate == nil {
		return nil, fmt.Errorf("servers[].ssl.cert: no certificate in %s", e.listener.SSL.Cert)
	}
	return terminal.TrustOnly(certificate.Bytes), nil
}

// channelItems are the channel ids that somebody names, each as text, in any form that the command channel takes.
func channelItems(args []string) (items []protocol.Item, texts []string, err error) {
	for _, arg := range args {
		list, err := channelList(arg)
		if err != nil {
			return nil, nil, err
		}
		for text := range strings.SplitSeq(list, "/") {
			it, _, err := protocol.ParseItem([]byte(text))
			if err != nil {
				return nil, nil, usage(fmt.Errorf("channel id %d is malformed: %w", len(items)+1, err))
			}
			items, texts = append(items, it), append(texts, text)
		}
	}
	return items, texts, nil
}
