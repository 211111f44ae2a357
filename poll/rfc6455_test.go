package poll

import (
	"errors"
	"testing"

	"push-server/protocol/rfc6455"
)

// The opening handshake is judged as RFC 6455 says.
func TestRFC6455Handshakes(t *testing.T) {
	names := make(map[string]bool)
	for _, h := range rfc6455.Handshakes() {
		if names[h.String()] {
			t.Errorf("two cases are %q", &h)
		}
		names[h.String()] = true
		if got := statusOf(h.Head); got != h.Status {
			t.Errorf("%s: %d, want %d", &h, got, h.Status)
		}
	}
	t.Logf("%d cases", len(names))
}

// statusOf is the status of the answer to a handshake, or rfc6455.Ordinary.
func statusOf(text string) int {
	in := []byte(text)
	skip, n, err := CheckHead(in)
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal.Status
	}
	var r Reader
	var req Request
	if err != nil || r.Read(in[skip:skip+n], &req) != nil {
		return 400
	}
	hs := req.Handshake(rfc6455.Target)
	switch refused := hs.Check(); {
	case !req.Upgrade:
		return rfc6455.Ordinary
	case refused != nil:
		return refused.Status
	}
	return 101
}
