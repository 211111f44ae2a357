// Package engine knows who is connected: event loops, sessions, subscriptions, deadlines, admission and the end of all of them. What was
// published, and in which order, is package feed's.
//
//	publisher ─► publishQueue ─► Bus ─► feed ═╦═► Reader ─► loop 0 ─► sockets
//	 (HTTP, WebSocket)                        ╚═► Reader ─► loop 1 ─► sockets
//	                                    mailboxes ◄─ requests, orders
//
// # Who may touch what
//
// A connection, its Session, its subscriptions and its deadlines belong to one loop, and so does all of loop below the line "loop only":
// the goroutine of its gnet engine touches them, nobody else does, and there is no lock. It runs OnOpen, OnTraffic and OnClose, never two
// at a time; OnClose may come from inside a write. Everybody else leaves something in the mailbox (post, call) and wakes the loop, or asks
// all loops at once (askLoops). A loop never waits: what may (the bus, handlers of publishers) runs on a goroutine of Engine.tasks, and
// its answer comes as mail.
//
// Exceptions, each made for it: loop.stats (atomic), table.Interested (read by the feed), awake, wakeFD, and loop.Wake.
//
//	Engine.publishing            any goroutine; under its mutex. One sender takes from the front of both lanes
//	Engine.admission, handOffs,  any goroutine
//	  limits, notices, presence
//	Engine.input, output         accounts of the process (package budget), any goroutine
//	Engine.prober                any goroutine; each loop has one session (flagOwn) of which only it knows
//	Engine.roster                any goroutine; under its mutex. One goroutine brings the bus who comes and goes
//	Options.Closed               any goroutine; under its mutex, once per session that ends
//	Options                      nobody changes them after New
//	Settings                     nor these: others take their place (Engine.Change). A loop has its own, loop.settings, and gets others by
//	                             mail; whoever is no loop asks Engine.settings
//	feed.Entry and its frames    shared by all loops, never changed
//	followed                     nothing of it changes, so any goroutine may write lines
//
// # A turn
//
// A byte on the control connection of a loop is a turn: mail, deadlines, then what was published. collect reads it into the outbox and
// touches no socket; flush writes, one write per session, and may close; only sweep takes sessions out of the tables, at the end of a
// callback. So whoever iterates over subscribers closes nobody, and whoever writes looks at the state of the session afterwards.
// A number of a session may be another one's by the time an answer comes: what waits for an answer keeps a sessionRef, whose generation
// moves on.
//
// # Who waits for whom
//
// Nobody waits for all of a crowd. Each kind of work in a turn (mail, deadlines, each queue of the outbox, replays, sweep) has a time of its
// own, Options.TurnBudget, and does at least some pieces of it; what is left goes on in the next turn, and all sockets that are ready are
// served in between. The clock is looked at once in some pieces (package quantum).
//
// So a publication may be half handed out for a while, and that is nothing special: what a session has not been given yet hangs on it as a
// chain of entries, in the order in which they were collected, and leaves as one. More is collected meanwhile, onto the same chains; who
// comes is not on them, who goes takes the chain along, and who has missed something (replaying) has none. A session with a chain stands in
// a queue: of what few get, or of what is for a crowd. If few get the latest of it, it stands in both, and the first one serves it.
// What is collected is bounded, in entries and bytes: more waits in the window, and what that cannot keep is read from history.
//
// Nothing more is written while sessions wait to be swept: what their sockets hold is counted no longer.
//
// # What operators see
//
// A loop notes what happens to its sessions (note) in its recorder, which keeps the last events; whoever watches a session (flagWatched) gets
// them, too, in a follower with a mutex of its own. Questions from outside (Connections, Events, Watch, Disconnect) come by askLoop, since
// they may come after the end of the loops. None of it has a byte of what was said, or a channel id.
//
// # Buffers
//
// Scratch of a loop (scratch, entries, own, shared, head, client, sub, request) is valid until the next call that uses it, and no
// further than the callback. What gnet has read (buf) is the callback's, too; what is left of it is copied to Session.input. write keeps
// nothing of what it is given.
//
// # The ways out of a session
//
//	close           now. Every other way ends here. The row of the reason counts it and tells the log
//	end             as its client understands it: a close frame, an empty answer to a poll, nothing for a head
//	sayGoodbye      WebSocket: a close frame; then the peer's own, or timerClose
//	finish          HTTP: the last reply is written; when the peer has it our side is shut down, then timerLinger
//	refuse          bad HTTP: a reply, then finish
//	breakOff        bad frames: sayGoodbye, then finish
//	handOff         the descriptor lives on in a fasthttp.Server of its own
//	contained       a panic over its input: close, with reason bug
//
// # Another process
//
// A process that hands over has its loops stand still between two turns (standStill): their goroutines do only what a Departure orders, with
// all that is theirs. The loops of the next one run already and read what is published, but have no clients and let nobody in (standsBy);
// each takes its sessions over, and then the listening sockets, in one step between two turns (adoptAll), so that nobody is heard before. What
// is said between the two is package handover's.
//
// # More of a kind
//
// A transport (how publications reach a client) is a row of transportTable, a dialect (how they look, and what the client may say) a row
// of dialectTable; each stands with its functions in one file, which fills it in init. A reason to close is a constant and a row of
// closeTable. A deadline is a timer, whose length is in newDeadlines, and a case of expired.
//
// # Words
//
//	session       a connection on its loop; request: what it is asked for, anew with every head
//	subscription  a session's side of a channel; member: the channel's side of it. join and leave make and end one
//	item          a channel as a client names it: a private id, and perhaps the public one
//	outbox        what was collected and is not written; chain: what a session gets of it; queue: sessions with a chain
//	backlog       output that peers have not taken
//	parked        a poll that waits; live: a WebSocket that gets what comes; replaying: either, while it gets what it has missed
//	lag, hole, repair, replay, position: see package feed
package engine
