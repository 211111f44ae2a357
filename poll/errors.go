package poll

import "errors"

// ErrBadRequest says that a head is no request. It is answered with AppendBadRequest, and the connection ends.
var ErrBadRequest = errors.New("poll: bad request")

// ErrAccepted is returned by a Publisher that has taken the publications but not stored them yet. It is answered with 202.
var ErrAccepted = errors.New("poll: accepted, not stored yet")

// ErrQueueFull is returned by a Publisher that cannot take the publications now. It is answered with 503.
var ErrQueueFull = errors.New("poll: publish queue is full")

// ErrSamePath is wrapped by the error for two routes that would answer the same requests.
var ErrSamePath = errors.New("poll: path is used twice")
