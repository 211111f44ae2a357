// Package redisbus is the bus of several processes: publications, history, presence and statistics in one Redis, under the
// keys and in the encodings of the Node push server, so that processes of both kinds serve one installation side by side.
//
// Commands share one pipelined connection, and reads a second one, so that no publication waits for megabytes of history. Publications
// come in over a third one, which carries nothing else. Redis may be away at any time, also when a Bus is made: commands then fail at
// once and Subscribe goes on trying.
//
// A publication is one script call (scripts/publish.lua), which takes its id, stores it and publishes it in one step. Calls are
// numbered, so that a publication sent again after a lost answer is stored once. Key names are in keys.go.
package redisbus
