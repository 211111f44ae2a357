// Package load makes the load: subscribers over WebSocket and long poll, publishers over HTTP and WebSocket, all on one epoll
// loop per process, without a goroutine per connection.
//
// The parent process uses a Fleet: it starts worker processes (the same program with the argument "worker"), tells them the Plan,
// and gives them orders as JSON lines over their standard input; they answer as JSON lines on their standard output. Counters that
// change with every message live in a Board, memory that all processes share, so that a closed loop of publications can be held
// against deliveries in another process without a message for each.
//
// Every payload carries its stream, its number in the stream, the time for which it was scheduled, and a checksum. A stream is
// what one publisher sends in order: the messages to one user, to one chat, to everybody. Each subscriber follows the streams that
// the plan gives it, and notices what is lost, doubled, out of order, damaged or not meant for it.
package load
