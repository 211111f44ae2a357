package protocol

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestErrors(t *testing.T) {
	f := func(e *Error, text string, status int, reason string) {
		t.Helper()
		if e.Error() != text || e.HTTPStatus() != status || e.Reason() != reason {
			t.Fatalf("got %q, %d, %q", e.Error(), e.HTTPStatus(), e.Reason())
		}
	}
	same := func(e *Error, status int, text string) {
		t.Helper()
		f(e, text, status, text)
	}
	same(ErrWrongChannel, 400, "4010: Wrong Channel Id.")
	same(ErrHistory, 400, "4011: Couldn't get last messages.")
	same(ErrPublicRequired, 400, "4012: Public Channel Id is Required.")
	same(ErrWrongRequest, 400, "4013: Wrong Request Data.")
	same(ErrNotAllowed, 400, "4014: Request command is not allowed.")
	same(ErrWrongCommand, 400, "4015: Wrong Request Command.")
	same(ErrTooManyMessages, 400, "4016: Request exceeded the maximum number of messages.")
	same(ErrNoChannels, 400, "4017: No channels found.")
	same(ErrTooManyChannels, 400, "4018: Request exceeded the maximum number of channels.")
	same(ErrInvalidChannel, 400, "4019: Request has an invalid channel id.")
	same(ErrPrivateChannel, 400, "4020: Private channel is not allowed.")
	same(ErrSignature, 400, "4021: Channel has an invalid signature.")
	same(ErrTooManyConnections, 429, "4029: Too many connections")
	same(ErrModule, 400, "4040: Messages of the module pull come from the portal only.")
	same(ErrBody, 400, "4041: Message body must be JSON.")
	f(ErrProtocolViolation, "1002: protocol violation", 400, "")
	f(ErrInvalidUTF8, "1007: invalid UTF-8", 400, "")
	f(ErrTooBig, "1009: message too big", 413, "")
}

// docs/errors.md has every refusal.
func TestPageHasAllErrors(t *testing.T) {
	page, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []*Error{
		ErrWrongChannel, ErrPublicRequired, ErrWrongRequest, ErrNotAllowed, ErrWrongCommand, ErrTooManyMessages, ErrNoChannels,
		ErrTooManyChannels, ErrInvalidChannel, ErrPrivateChannel, ErrSignature, ErrTooManyConnections, ErrModule, ErrBody,
	} {
		if row := fmt.Sprintf("| %d | %s |", e.Code, e.Text); !strings.Contains(string(page), row) {
			t.Errorf("%s is missing", row)
		}
	}
}
