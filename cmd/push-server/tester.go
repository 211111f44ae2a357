package main

import (
	"push-server/cmd/push-server/internal/tester"
	"push-server/configs"
	"push-server/protocol"
)

// newTester lets an operator be his own subscriber and his own back end.
func newTester(c *configs.Config) *tester.Tester {
	find := func(name string, route func(configs.Routes) string) func() (tester.Endpoint, error) {
		return func() (found tester.Endpoint, err error) {
			e, err := needEndpoint(c, name, route)
			if err != nil {
				return found, err
			}
			trust, err := e.tls()
			return tester.Endpoint{HTTP: e.http(), WebSocket: e.ws(), Any: reachable(e.listener.Address) != e.listener.Address, TLS: trust}, err
		}
	}
	return tester.New(tester.Options{
		Sign: func(item protocol.Item) (string, error) {
			signer, err := newSigner(c)
			if err != nil {
				return "", err
			}
			return signer.SignItem(item), nil
		},
		Subscribe: find("sub", subRoute),
		Publish:   find("pub", pubRoute),
	})
}
