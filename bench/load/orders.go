package load

import "time"

// Order is what the parent tells a worker; exactly one field beside ID is set. Each is answered by one Answer with the same ID,
// when it is done.
type Order struct {
	ID      int       `json:"id"`
	Setup   *Setup    `json:"setup,omitempty"`
	Connect *Connect  `json:"connect,omitempty"`
	Drop    *Drop     `json:"drop,omitempty"`
	Publish *Campaign `json:"publish,omitempty"`
	Churn   *Churn    `json:"churn,omitempty"`
	Lag     *struct{} `json:"lag,omitempty"`
	Stats   *Measure  `json:"stats,omitempty"`
	Listen  *Listen   `json:"listen,omitempty"`
	Spread  *Spread   `json:"spread,omitempty"`
	Quit    *struct{} `json:"quit,omitempty"`
}

// Setup comes first: the plan, and which users are this worker's.
type Setup struct {
	Plan    *Plan `json:"plan"`
	Worker  int   `json:"worker"`
	Workers int   `json:"workers"`
	From    int   `json:"from"`
	To      int   `json:"to"`
	// Alone says that all subscribers are in this process.
	Alone bool `json:"alone"`
	// Sources are the addresses that connections come from, used in turn; none: the kernel's choice.
	Sources []string `json:"sources"`
}

// Connect opens the connections of a group that are not open.
type Connect struct {
	Group string  `json:"group"`
	Limit int     `json:"limit"` // handshakes under way at a time
	Rate  float64 `json:"rate"`  // a second; 0: as fast as possible
	Count int     `json:"count"` // only the first users of the group; 0: all
}

// Drop closes the connections of a group; with a RST if Reset.
type Drop struct {
	Group string `json:"group"`
	Reset bool   `json:"reset"`
}

// Churn closes and opens again Rate connections of a group a second, until told Rate 0.
type Churn struct {
	Group string  `json:"group"`
	Rate  float64 `json:"rate"`
}

// Measure asks for Stats; with Reset the histograms and counters, though not those of integrity, begin anew.
type Measure struct {
	Reset bool `json:"reset"`
}

// Listen makes the worker a floor: it accepts Count connections on an address of its choice.
type Listen struct {
	Count int `json:"count"`
}

// Spread makes the floor write Count messages of a stream to each of its connections, each message when the last one has been
// read by all.
type Spread struct {
	Stream  int `json:"stream"`
	Count   int `json:"count"`
	Threads int `json:"threads"`
}

// Answer is what a worker says to an order.
type Answer struct {
	ID        int        `json:"id"`
	Error     string     `json:"error,omitempty"`
	Dialed    *Dialed    `json:"dialed,omitempty"`
	Published *Published `json:"published,omitempty"`
	Pending   int64      `json:"pending,omitempty"`
	Stats     *Stats     `json:"stats,omitempty"`
	Address   string     `json:"address,omitempty"` // where the floor listens
	Elapsed   int64      `json:"elapsed,omitempty"` // of a spread, ns
}

// Campaign is a series of publications to the streams First … First+Streams-1 in turn.
type Campaign struct {
	First   int `json:"first"`
	Streams int `json:"streams"`
	// Rate > 0 is an open loop: so many a second, whatever the server does, timed from when each was due. 0 is a closed loop.
	Rate float64 `json:"rate"`
	// Connections is the number of publishers; each has one publication under way and owns a share of the streams, so that what
	// is sent to a stream is sent in order.
	Connections int           `json:"connections"`
	Count       int           `json:"count"` // publications in all; 0: as many as fit Time
	Time        time.Duration `json:"time"`
	Await       bool          `json:"await"` // closed loop: a publication is done only when it was delivered to all
	Batch       int           `json:"batch"` // messages in a request; 0 is 1
	// Speakers, if set, is a group whose users publish by WebSocket: to ClientStream of the user given by the stream.
	Speakers string `json:"speakers"`
}

// Published is the outcome of a campaign.
type Published struct {
	Sent     int64         `json:"sent"`              // messages
	Stored   int64         `json:"stored"`            // answered 200 to 299, but for 202
	Accepted int64         `json:"accepted"`          // answered 202
	Refused  map[int]int64 `json:"refused,omitempty"` // others, by status; 0: no answer
	Stalled  int64         `json:"stalled"`           // not delivered to all in time
	Elapsed  time.Duration `json:"elapsed"`
	Answer   *Latency      `json:"answer,omitempty"` // from when it was due to the answer
}

// Stats are the counts of one worker, or of all.
type Stats struct {
	Integrity    Integrity        `json:"integrity"`
	Frames       int64            `json:"frames"` // WebSocket messages
	Reads        int64            `json:"reads"`  // read(2) with data
	Polls        int64            `json:"polls"`  // answered with messages
	PollTimeouts int64            `json:"pollTimeouts"`
	Returns      int64            `json:"returns"`
	Retries      int64            `json:"retries"` // of connections, because an attempt had failed
	Troubles     map[string]int64 `json:"troubles,omitempty"`
	// From when a message was due to when it was read: of messages to few, and of those to a shared channel, where the last one
	// must wait until all others have been written to.
	Delivery  *Latency `json:"delivery,omitempty"`
	Broadcast *Latency `json:"broadcast,omitempty"`
}

// Add sums the stats of two workers.
func (s *Stats) Add(o *Stats) error {
	s.Integrity.Add(o.Integrity)
	s.Frames += o.Frames
	s.Reads += o.Reads
	s.Polls += o.Polls
	s.PollTimeouts += o.PollTimeouts
	s.Returns += o.Returns
	s.Retries += o.Retries
	for what, n := range o.Troubles {
		if s.Troubles == nil {
			s.Troubles = make(map[string]int64)
		}
		s.Troubles[what] += n
	}
	if s.Delivery == nil {
		s.Delivery, s.Broadcast = NewLatency(), NewLatency()
	}
	if err := s.Delivery.Add(o.Delivery); err != nil {
		return err
	}
	return s.Broadcast.Add(o.Broadcast)
}
