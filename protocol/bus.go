package protocol

import "errors"

// The words that a bus and its user share. The interface of a bus itself is declared by its user, package engine.

// Handler receives what a bus carries. Its methods are called one after the other, though not always from one goroutine; they
// must not block, and must not call the bus.
type Handler interface {
	// HandlePublication gets a publication in the order of the bus. p is shared and never modified.
	HandlePublication(p *Publication)
	// HandleEcho gets an echo: its number as Echo returned it, and the highest message id that was handed out when it was sent.
	HandleEcho(n uint64, highest MessageID)
	// HandleGap says that something may have been missed since the last call. It comes before the next HandlePublication.
	HandleGap()
}

// HistoryQuery asks what was published to channels in (Since, Until].
type HistoryQuery struct {
	Channels []ChannelID
	// Shared[i] says that Channels[i] has several subscribers, so its bodies will be asked for again soon and are worth caching.
	// nil: none.
	Shared []bool
	Since  MessageID // exclusive
	Until  MessageID // inclusive; zero: no upper bound
	// Limit is the number of publications taken of each channel, the newest ones; 0: all of them.
	Limit int
	// Total is the number of publications in all, the newest ones; 0: all of them.
	Total int
}

// ErrRefused is wrapped by a bus in the error for a publication that it will never take, however often it is sent.
var ErrRefused = errors.New("protocol: publication refused by the bus")

// ErrForbidden is wrapped by a bus in the error for publications that it may not store until an operator allows it. None of those that it
// did not count as stored is, or will be unless it is sent again.
var ErrForbidden = errors.New("protocol: publications are forbidden on the bus")

// ErrUnkept is for publications that were given to those who are connected, but not kept for each of their receivers, and never will be.
var ErrUnkept = errors.New("protocol: not kept for receivers that are away")

// ErrBusClosed is returned by a bus after Close.
var ErrBusClosed = errors.New("protocol: bus closed")

// HistoryAnswer answers a HistoryQuery.
type HistoryAnswer struct {
	Publications []*Publication // oldest first
	More         bool           // there are newer ones: ask again from the last one on
}
