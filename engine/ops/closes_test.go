package ops

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"push-server/engine/closed"
	"push-server/engine/view"
	"push-server/protocol"
)

func TestCloses(t *testing.T) {
	ring := closed.NewRing(time.Unix(1, 0))
	e := closed.End{Time: time.Unix(2, 0), Reason: "slow_reader", Transport: "websocket", Address: "10.0.0.1", Last: protocol.MakeMessageID(3, 4)}
	e.Listen(protocol.ChannelID{Bytes: [16]byte{0xab}})
	ring.Add(e)
	s := openWith(t, &server{ready: true}, Options{Closed: ring, Warnings: NewWarnings()})
	f := func(search string, status, n int) {
		t.Helper()
		resp, err := http.Get("http://" + s.Addr() + "/closes?search=" + search)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var all view.Closes
		if err := json.NewDecoder(resp.Body).Decode(&all); err != nil || resp.StatusCode != status || len(all.All) != n {
			t.Errorf("%q: %d, %+v, %v", search, resp.StatusCode, all, err)
		}
		want := view.Ended{Time: time.Unix(2, 0), Reason: "slow_reader", Transport: "websocket", Address: "10.0.0.1", LastMessage: "00000000030000000000000004"}
		if n > 0 && (!all.All[0].Time.Equal(want.Time) || all.All[0].LastMessage != want.LastMessage || all.All[0].Reason != want.Reason || all.From.Unix() != 1) {
			t.Errorf("%q: %+v", search, all)
		}
	}
	f("ab000000000000000000000000000000", http.StatusOK, 1)
	f("cd000000000000000000000000000000", http.StatusOK, 0)
	f("ab", http.StatusBadRequest, 0)
	f("", http.StatusBadRequest, 0)
}
