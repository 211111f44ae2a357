package load

import "testing"

func TestBodySaysWhatItWasMadeOf(t *testing.T) {
	f := func(p payload, size, wantSize int) {
		t.Helper()
		b := appendBody(nil, p, size)
		if len(b) != wantSize {
			t.Errorf("%d bytes, want %d", len(b), wantSize)
		}
		got, ok := parseBody(b)
		if !ok || got != p {
			t.Errorf("%s: %+v %v, want %+v", b, got, ok, p)
		}
	}
	f(payload{stream: 1, number: 2, at: 3}, 200, 200)
	f(payload{stream: 1<<32 - 1, number: 1<<32 - 1, at: 1<<63 - 1}, 1000, 1000)
	f(payload{}, 0, minBodySize)
}

func TestDamagedBodyIsNoticed(t *testing.T) {
	body := appendBody(nil, payload{stream: 7, number: 8, at: 9}, 100)
	for i := range body {
		body[i] ^= 1
		if _, ok := parseBody(body); ok {
			t.Errorf("byte %d of %s", i, body)
		}
		body[i] ^= 1
	}
	if _, ok := parseBody(body[:len(body)-1]); ok {
		t.Error("a truncated body passed")
	}
}
