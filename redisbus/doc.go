// Package redisbus is the bus of several processes: publications, history, presence and statistics in one Redis, under the
// keys and in the encodings of the Node push server, so that processes of both kinds serve one installation side by side.
//
// Commands share one pipelined connection, and reads a second one, so that no publication waits for megabytes of history. Publications
// come in over a third one, which carries nothing else. Redis may be away at any time, also when a Bus is made: commands then fail at
// once and Subscribe goes on trying.
//
// Redis may become another server: by Sentinel, in a cluster, or behind an address that stays. Each new connection is asked for INFO, and it is looked
// every ten seconds, and when Redis is read-only or sentinels have news, where a new one would lead (follow.go). All connections go to one
// server, and ids go on well above those that are known when that is another one than before. A user who may not run INFO does without:
// behind an address that stays, an id that the new server lacks may then be handed out again, and a master that is not read-only is not
// left.
//
// A publication is one script call (scripts/publish.lua), which takes its id, stores it and publishes it in one step. Calls are
// numbered, so that a publication sent again after a lost answer is stored once. Key names are in keys.go.
package redisbus
