package terminal

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"push-server/protocol"
)

// Subscription follows channels, over as many connections as it takes.
type Subscription struct {
	URL      string // of a route sub, with CHANNEL_ID: ws or wss, with Poll http or https
	Poll     bool
	Protobuf bool
	Mid      string      // go on behind this message; "": with the next one
	TLS      *tls.Config // nil: as the system has it

	// Deliver gets each message. An error ends the subscription.
	Deliver func(m *Message) error
	// Notice gets what a person may want to know about connections, and whether there is one.
	Notice func(text string, listening bool)

	contact *contact
}

// Run follows the channels until ctx ends, until Deliver fails, or until the server refuses for good. It returns nil when ctx ends, unless
// the time was over while there was no connection.
func (s *Subscription) Run(ctx context.Context) error {
	s.contact = newContact(s.address(), s.Notice)
	listen := s.socket
	if s.Poll {
		client := NewClient(s.TLS)
		defer client.Close()
		listen = func(ctx context.Context) error { return s.poll(ctx, client) }
	}
	for {
		err := listen(ctx)
		switch {
		case isFinal(err):
			return err
		case ctx.Err() != nil:
			return s.contact.atEnd(ctx)
		}
		select {
		case <-time.After(s.contact.lose(err)):
		case <-ctx.Done():
			return s.contact.atEnd(ctx)
		}
	}
}

// finalError is one after which a new attempt would end the same way.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

func isFinal(err error) bool {
	_, ok := errors.AsType[*finalError](err)
	return ok
}

// take delivers the messages of a frame or reply and remembers how far it has come.
func (s *Subscription) take(b []byte) error {
	messages, err := parse(b, s.Protobuf)
	if err != nil {
		return &finalError{err}
	}
	for i := range messages {
		if err := s.Deliver(&messages[i]); err != nil {
			return &finalError{err}
		}
		s.Mid = messages[i].ID.String()
	}
	return nil
}

// address is the URL without what is secret in it.
func (s *Subscription) address() string {
	u, err := url.Parse(s.URL)
	if err != nil {
		return "a bad URL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// target is the URL of the next connection.
func (s *Subscription) target() (string, error) {
	mode := ""
	if s.Protobuf {
		mode = "true"
	}
	target, err := withQuery(s.URL, "mid", s.Mid, "binaryMode", mode)
	if err != nil {
		return "", &finalError{err}
	}
	return target, nil
}

// refused is what a refusal means to a subscriber: the number is a close code or stands in the body of a reply.
func refused(err error, code int) error {
	switch code {
	case int(protocol.ErrWrongChannel.Code):
		return &finalError{fmt.Errorf("%w (verify it with push-server channel --config FILE CHANNEL_ID)", err)}
	case int(protocol.ErrTooManyConnections.Code):
		return &finalError{fmt.Errorf("%w (newer ones of this channel have taken its place, see limits.maxConnPerChannel)", err)}
	}
	return err
}

// refusedHTTP is refused for replies.
func refusedHTTP(err *StatusError) error {
	switch code := leadingNumber(err.Text); {
	case code == int(protocol.ErrHistory.Code), err.Status == http.StatusRequestTimeout, err.Status >= http.StatusInternalServerError:
		return err
	case code > 0 && isFinal(refused(err, code)):
		return refused(err, code)
	case err.Status == http.StatusNotFound, err.Status == http.StatusBadRequest && code == 0: // the latter to a handshake
		return &finalError{fmt.Errorf("%w: the server has no route sub at this address", err)}
	}
	return &finalError{err}
}

func leadingNumber(text string) (n int) {
	for _, c := range text {
		if c < '0' || c > '9' || n > 9999 {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
}
