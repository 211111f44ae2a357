// Package testclient is how tests talk to a push server: subscribers by
// WebSocket and by long poll, back ends that publish, the channels that they
// name, and the one way to wait for something. Only tests and packages made
// for tests may import it.
//
// It shares no encoder, parser or signature with the server, so that what the
// server gets wrong is not got wrong here as well.
//
//	alice := testclient.NewChannel(key)
//	live := testclient.Subscribe(t, addr, "/bitrix/subws/"+testclient.Query(false, "", alice.Signed()))
//	backend.PublishText(ctx, "http://"+addr+"/bitrix/pub/", `{"n":1}`, 60, alice.Private)
//	live.Bodies(1) // {"n":1}
//
// A [Conn] returns errors and may be used from any goroutine. A [Client] is a
// Conn in the hands of one test, which whatever goes wrong ends: less to read
// where nothing is meant to go wrong. [HTTP] opens connections as it needs
// them, as a back end does. [Await] and its sisters wait.
package testclient
