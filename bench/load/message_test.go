package load

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

type visited []string

func (v *visited) message(position, body []byte) {
	*v = append(*v, string(position)+" "+string(body))
}

// The bytes are those of the description of the protocol.
func TestBinaryMessages(t *testing.T) {
	f := func(in string, want ...string) {
		t.Helper()
		b, err := hex.DecodeString(strings.ReplaceAll(in, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		var got visited
		if err := visitBinary(b, &got); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v %v, want %v", got, err, want)
		}
	}
	one := "0a27 0a25 0a23 0a0d17954638490000000000000001 12077b2261223a317d 183c 25a99a046b 2a020802"
	two := "0a28 0a26 0a24 0a0d17954638490000000000000002 12077b2262223a327d 18901c 25aa9a046b 2a020802"
	f(one, `17954638490000000000000001 {"a":1}`)
	f(one+two, `17954638490000000000000001 {"a":1}`, `17954638490000000000000002 {"b":2}`)
	f("0a02 1200")
}

func TestBinaryNonsense(t *testing.T) {
	f := func(in string) {
		t.Helper()
		var got visited
		if err := visitBinary([]byte(in), &got); err == nil {
			t.Errorf("%q passed", in)
		}
	}
	f("\x0a\xff")
	f("\x0a\x02\x0a\x07")
	f("hello")
}

func TestTextMessages(t *testing.T) {
	one := `#!NGINXNMS!#{"id":126,"mid":"17954614120000000000000126","channel":"-","tag":"561","time":"Mon","text":{"x":1}}#!NGINXNME!#`
	var got visited
	if err := visitText([]byte(one+one), &got); err != nil || len(got) != 2 || got[1] != `17954614120000000000000126 {"x":1}` {
		t.Errorf("%v %v", got, err)
	}
	if err := visitText([]byte(one+"x"), &got); err == nil {
		t.Error("nonsense behind a message passed")
	}
}

func TestCalls(t *testing.T) {
	one := `{"jsonrpc":"2.0","method":"incoming.message","params":{"mid":"17954614120000000000000126","body":{"x":1},"sender":{"type":2,"id":""}}}`
	for _, text := range []string{one, "[" + one + "," + one + "]"} {
		var got visited
		if err := visitCalls([]byte(text), &got); err != nil || len(got) != strings.Count(text, "mid") || got[0] != `17954614120000000000000126 {"x":1}` {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
	for _, wrong := range []string{"x", "[" + one + ",x]", one[:100]} {
		if err := visitCalls([]byte(wrong), new(visited)); err == nil {
			t.Errorf("%q passed", wrong)
		}
	}
	op, frame := (&pushDialect{plan: &Plan{Target: Target{Format: JSONRPC}}}).frame([]byte(`{"y":2}`))
	var got visited
	if err := visitCalls(frame, &got); err != nil || op != opText || len(got) != 1 || !strings.HasSuffix(got[0], ` {"y":2}`) {
		t.Errorf("the floor sends %s: %v, %v", frame, got, err)
	}
}

// Item 4 of the recorded conversation: a client publishes to a public id.
func TestClientRequest(t *testing.T) {
	id, _ := hex.DecodeString("ffeeddccbbaa99887766554433221100")
	signature, _ := hex.DecodeString("cbe0c27ecb99cb0061b558050a4feb7dc50ed852")
	got := hex.EncodeToString(appendRequest(nil, []receiver{{id: channel(id), signature: signature}}, [][]byte{[]byte(`{"c":3}`)}, 0))
	want := strings.ReplaceAll("0a40 0a3e 0a3c 0a28 0a10ffeeddccbbaa99887766554433221100 1a14cbe0c27ecb99cb0061b558050a4feb7dc50ed852 1a077b2263223a337d 2000 2a0562656e6368", " ", "")
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestSignatures(t *testing.T) {
	p := &Plan{Target: Target{Key: "example-key"}}
	f := func(message, want string) {
		t.Helper()
		if got := hex.EncodeToString(p.sign(message)); got != want {
			t.Errorf("%s: %s, want %s", message, got, want)
		}
	}
	f("0123456789abcdef0123456789abcdef", "acbad8c294ed76e1e705ee2986cf14870f7c12c0")
	f("0123456789abcdef0123456789abcdef:fedcba9876543210fedcba9876543210", "2641220b15c596ac920d55f203a1b0600c80cd06")
	f("public:fedcba9876543210fedcba9876543210", "f5e67105807871681774d1607147b49ee4e66dc3")
}
