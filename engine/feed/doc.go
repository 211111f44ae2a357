// Package feed knows what was published, in which order and without holes. It stands between the bus and the event loops, and knows
// neither sockets nor sessions.
//
//	bus ──HandlePublication──► Feed ─► window ═╦═► Reader ─► loop 0
//	                             ▲             ╚═► Reader ─► loop 1
//	      History, Remaining ◄───┴── repairs, lags, questions of clients
//
// # Who may touch what
//
// The bus calls the Handler methods of Feed, one at a time. The Tasks of a feed run on goroutines of their own. Both meet under
// Feed.mu, which is never held while the bus is asked. A Reader belongs to the goroutine of its loop; what the feed wants of it is an
// order in its inbox (Reader.post), carried out inside Next. The window is written under Feed.mu and read without a lock.
//
// # Positions
//
// Ids grow with each publication, but those of Node publishers come late: an id is taken first and published later, or never. So the
// greatest id says nothing about smaller ones, and a position is more than a number:
//
//   - Feed.highest: the greatest id that has come by, or a counter that an echo showed while nothing below it was missing;
//   - holes: ids below it that were handed out and have not come by. Their lowest is where a repair begins;
//   - Reader.highest, Reader.accounted: the same two as of the entry that a reader has read last; with the ids that it read lately they
//     are a Position, which another process can take up;
//   - Reader.base: from here on the window answers clients; it answers none while the reader is blind, that is, between the order to
//     name its channels for a repair and the first echo behind that.
//
// # Echoes
//
// An echo is a message that the bus sends through itself to this process alone. When it comes by, whatever was handed to the bus
// before has come by. It tells that a read of history and the live publications kept meanwhile are complete together (Replay), that a
// gap has been read up to a known counter (repair), and, once a second, that the bus is not only connected but brings something. With
// that one comes a publication for Options.Probe, which tells the same of readers and those who write (package probe).
//
// # Gaps
//
// Whatever may have been missed is read from history, in one way: live publications are held; an echo says up to which counter to read;
// every reader names its channels and goes blind; history is read, in parts if it is large; what was read and what was held is
// appended in the order of ids, with an echo behind it. The start of a process is such a gap, too: it begins where clients could
// connect first, or at the positions that were taken up. A reader that the window has overtaken has a gap of its own, which is read for
// it alone and served before what is left in the window.
//
// # A store that loses data
//
// Ids never go back: whoever publishes, or echoes, tells the store the greatest id that it knows, and a store that is behind goes on
// above that. So what the window has stays good across a flush or a failover, and clients get from it what the store has lost.
//
// # Words
//
//	publication  what is sent to channels, once; entry: a publication in memory, with its frames
//	history      publications that are stored; remaining: how much longer one of them is
//	window       the latest entries, in the order in which they came
//	replay       what one client has missed, on its way to it
//	pending      live publications that are kept for a client whose replay is under way
//	held         live publications that are kept for all while a gap is being closed
//	repair       the closing of a gap; detour: what one reader has missed, served before the window
package feed
