package protocol

import (
	"errors"
	"net/http"
	"strconv"
)

// ErrShort says that the bytes are the beginning of something: call again with more. It is control flow, not a failure.
var ErrShort = errors.New("protocol: more bytes needed")

// Error is a refusal that the peer is told about: over HTTP as a status with the text in the body, on a WebSocket as a close
// code with the text as reason.
type Error struct {
	Code uint16
	Text string
}

// The refusals of requests and subscriptions.
var (
	ErrWrongChannel       = &Error{4010, "Wrong Channel Id."}
	ErrHistory            = &Error{4011, "Couldn't get last messages."}
	ErrPublicRequired     = &Error{4012, "Public Channel Id is Required."}
	ErrWrongRequest       = &Error{4013, "Wrong Request Data."}
	ErrNotAllowed         = &Error{4014, "Request command is not allowed."}
	ErrWrongCommand       = &Error{4015, "Wrong Request Command."}
	ErrTooManyMessages    = &Error{4016, "Request exceeded the maximum number of messages."}
	ErrNoChannels         = &Error{4017, "No channels found."}
	ErrTooManyChannels    = &Error{4018, "Request exceeded the maximum number of channels."}
	ErrInvalidChannel     = &Error{4019, "Request has an invalid channel id."}
	ErrPrivateChannel     = &Error{4020, "Private channel is not allowed."}
	ErrSignature          = &Error{4021, "Channel has an invalid signature."}
	ErrModule             = &Error{4040, "Messages of the module pull come from the portal only."}
	ErrBody               = &Error{4041, "Message body must be JSON."}
	ErrTooManyConnections = &Error{4029, "Too many connections"}
)

// The failures of WebSocket frames (RFC 6455, 7.4.1). They close without a reason.
var (
	ErrProtocolViolation = &Error{1002, "protocol violation"}
	ErrInvalidUTF8       = &Error{1007, "invalid UTF-8"}
	ErrTooBig            = &Error{1009, "message too big"}
)

// firstOwnCode is where the codes end that RFC 6455 keeps for itself, for libraries and for frameworks.
const firstOwnCode = 4000

// Error is "<code>: <text>", which is also the body of the refusal over HTTP.
func (e *Error) Error() string { return strconv.Itoa(int(e.Code)) + ": " + e.Text }

// HTTPStatus is the status that the refusal has over HTTP.
func (e *Error) HTTPStatus() int {
	switch e.Code {
	case ErrTooManyConnections.Code:
		return http.StatusTooManyRequests
	case ErrTooBig.Code:
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}

// Reason is what stands behind the code in a close frame: "<code>: <text>", or nothing for failures of frames.
func (e *Error) Reason() string {
	if e.Code < firstOwnCode {
		return ""
	}
	return e.Error()
}
