package testclient

import (
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"push-server/protocol"
)

var a = Channel{"0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210", "example-key"}
var b = Channel{"00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100", "example-key"}

func TestChannelOf(t *testing.T) {
	lone := Channel{Private: a.Private, key: a.key}
	for _, c := range []Channel{a, b, lone} {
		if got := ChannelOf(c.key, c.Item()); got != c {
			t.Errorf("got %+v, want %+v", got, c)
		}
	}
	if lone.Signed() != a.Alone() {
		t.Errorf("without a public id: %s", lone.Signed())
	}
}

// TestItems has the server check what is signed here.
func TestItems(t *testing.T) {
	signer, err := protocol.NewSigner("", []byte("example-key"))
	if err != nil {
		t.Fatal(err)
	}
	c := NewChannel("example-key")
	list := c.Signed() + "/" + c.Alone()
	items, ok := protocol.AppendItems(nil, []byte(list), protocol.TrustNone, signer)
	if !ok || len(items) != 2 || items[0] != c.Item() {
		t.Errorf("%s is %v, %v", list, items, ok)
	}
}

func TestSignatures(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if !strings.HasSuffix(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(a.Alone(), "acbad8c294ed76e1e705ee2986cf14870f7c12c0")
	f(a.Signed(), "2641220b15c596ac920d55f203a1b0600c80cd06")
	f(hex.EncodeToString(a.PublicReceiver().Signature), "f5e67105807871681774d1607147b49ee4e66dc3")
}

// TestRequests encodes what clients and backends were seen to send.
func TestRequests(t *testing.T) {
	f := func(got []byte, want string) {
		t.Helper()
		if hex.EncodeToString(got) != strings.ReplaceAll(want, " ", "") {
			t.Errorf("got  %x\nwant %s", got, want)
		}
	}
	f(AppendPublish(nil, Publication{[]Receiver{b.PublicReceiver()}, `{"c":3}`, 0}),
		"0a39 0a37 0a35 0a28 0a10ffeeddccbbaa99887766554433221100 1a14cbe0c27ecb99cb0061b558050a4feb7dc50ed852 1a077b2263223a337d 2000")
	f(AppendChannelStats(nil, a.PrivateReceiver(), Receiver{ID: b.PublicReceiver().ID}),
		"0a2c 122a 0a14 0a100123456789abcdef0123456789abcdef 1001 0a12 0a10ffeeddccbbaa99887766554433221100")
	f(AppendCommand(nil, 3), "0a02 1a00")
}

func TestParse(t *testing.T) {
	f := func(in string, binary bool, want ...Message) {
		t.Helper()
		if binary {
			raw, err := hex.DecodeString(strings.ReplaceAll(in, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			in = string(raw)
		}
		got, err := Parse([]byte(in), binary)
		for i := range got {
			if !strings.Contains(in, got[i].Raw) || got[i].Raw == "" {
				t.Errorf("%q did not come", got[i].Raw)
			}
			got[i].Raw = ""
		}
		if (err != nil) != (want == nil) || !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, %v; want %v", got, err, want)
		}
		if err != nil && !errors.Is(err, ErrFraming) {
			t.Errorf("error %v is not ErrFraming", err)
		}
	}
	text := `#!NGINXNMS!#{"id":2,"mid":"17954638490000000000000002","channel":"-","tag":"318","time":"Mon, 23 Nov 2026 19:57:30 GMT","text":{"b":2}}#!NGINXNME!#`
	one := Message{ID: "17954638490000000000000002", Body: `{"b":2}`}
	f(text, false, one)
	f(text+text, false, one, one)
	f(`#!NGINXNMS!#{"mid":"17954638490000000000000002","text":early}#!NGINXNME!#`, false, Message{ID: one.ID, Body: "early"})
	f(text[1:], false)
	f(text[:len(text)-1], false)
	f(`#!NGINXNMS!#{"mid":"17954638490000000000000002"#!NGINXNME!#`, false)
	f(`#!NGINXNMS!#{"mid":17,"text":early}#!NGINXNME!#`, false)
	f("0a27 0a25 0a23 0a0d17954638490000000000000001 12077b2261223a317d 183c 25a99a046b 2a020802", true,
		Message{"17954638490000000000000001", `{"a":1}`, SenderBackend, "", ""})
	f("0a39 0a37 0a35 0a0d17954638490000000000000003 12077b2263223a337d 1800 253b2ffc09 2a14 0801 1210fedcba9876543210fedcba9876543210", true,
		Message{"17954638490000000000000003", `{"c":3}`, SenderClient, a.Public, ""})
	f("0a27 0a25 0a24", true)
	f("0a27 0a25 0a23 0a0d17954638490000000000000001 12077b2261223a317d 183c 25", true)
	f("0a13 0a11 0a0f 0a0d17954638490000000000000001", true) // of nobody
}
