package poll

import (
	"strings"
	"testing"

	"push-server/protocol"
)

func subscription(t *testing.T, query string) (*Subscription, *protocol.Error) {
	t.Helper()
	sub := &Subscription{}
	err := sub.Parse(readHead(t, "GET /sub/?"+query+" HTTP/1.1\nHost: a\n\n"), newSigner(), nil)
	return sub, err
}

func TestSubscriptionChannels(t *testing.T) {
	accepted := func(query string, items ...protocol.Item) {
		t.Helper()
		sub, err := subscription(t, query)
		if err != nil || len(sub.Items) != len(items) {
			t.Errorf("%q: %v, %v", query, sub.Items, err)
			return
		}
		for i := range items {
			if sub.Items[i] != items[i] {
				t.Errorf("%q: item %d is %v, want %v", query, i, sub.Items[i], items[i])
			}
		}
	}
	refused := func(query string) {
		t.Helper()
		if sub, err := subscription(t, query); err != protocol.ErrWrongChannel || len(sub.Items) > 0 {
			t.Errorf("%q: %v, %v", query, sub.Items, err)
		}
	}
	a := protocol.Item{Private: id(privA), Public: id(pubA), HasPublic: true}
	alone := protocol.Item{Private: id(privA)}

	accepted("CHANNEL_ID="+signedA, a)
	accepted("CHANNEL_ID="+aloneA+"/"+signedA, alone, a)
	accepted("CHANNEL_ID="+strings.NewReplacer(":", "%3A", "/", "%2F").Replace(signedA+"/"+aloneA)+"&revision=19", a, alone)
	accepted("tag=1&time=2&hostname=h&format=json&CHANNEL_ID="+signedA+"&CHANNEL_ID=x", a)
	accepted("CHANNEL_ID="+signedA+"?CHANNEL_ID=x", a)

	refused("")
	refused("CHANNEL_ID=")
	refused("CHANNEL_ID=" + privA)
	refused("CHANNEL_ID=" + unsignedA)
	refused("CHANNEL_ID=" + unsignedA + "." + sigPrivA)
	refused("CHANNEL_ID=" + signedA + "/" + privB)
	refused("CHANNEL_ID=" + signedA + "/")
	refused("CHANNEL_ID=" + signedA + "+")
	refused("CHANNEL_ID=" + strings.ToUpper(signedA))
	refused("channel_id=" + signedA)
	refused("CHANNEL_ID[]=" + signedA)
	refused("CHANNEL_ID=%zz%")
	refused("CHANNEL_ID=x&CHANNEL_ID=" + signedA)
}

func TestSubscriptionMid(t *testing.T) {
	f := func(query, want string) {
		t.Helper()
		sub, err := subscription(t, "CHANNEL_ID="+signedA+"&"+query)
		got := ""
		if sub.HasMid {
			got = sub.Mid.String()
		}
		if err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", query, got, err, want)
		}
	}
	const mid = "17954614120000000000000225"
	f("mid="+mid, mid)
	f("mid=%31"+mid[1:], mid)
	f("mid=00000000000000000000000000", "00000000000000000000000000")
	f("mid="+mid+"&mid=00000000000000000000000000", mid)
	f("", "")
	f("mid=", "")
	f("mid=null", "")
	f("mid="+mid[1:], "")
	f("mid=0"+mid, "")
	f("mid=-"+mid[1:], "")
	f("mid="+mid[1:]+"+", "")
	f("mid=aaaaaaaaaaaaaaaaaaaaaaaaaa", "")
	f("mid=x&mid="+mid, "")
}

func TestSubscriptionBinary(t *testing.T) {
	f := func(query string, want bool) {
		t.Helper()
		if sub, err := subscription(t, "CHANNEL_ID="+signedA+"&"+query); err != nil || sub.Binary != want {
			t.Errorf("%q: %v, %v", query, sub.Binary, err)
		}
	}
	f("binaryMode=true", true)
	f("binaryMode=false", false)
	f("binaryMode=1", false)
	f("binaryMode=TRUE", false)
	f("binaryMode", false)
	f("binaryMode=false&binaryMode=true", false)
	f("", false)
}

func TestSubscriptionIsUsedAgain(t *testing.T) {
	sub, err := subscription(t, "CHANNEL_ID="+signedA+"&mid=17954614120000000000000225&binaryMode=true")
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.Parse(readHead(t, "GET /sub/ HTTP/1.1\nHost: a\n\n"), newSigner(), nil); err != protocol.ErrWrongChannel {
		t.Errorf("without channels: %v", err)
	}
	if len(sub.Items) > 0 || sub.HasMid || sub.Binary {
		t.Errorf("something is left: %+v", sub)
	}
}
