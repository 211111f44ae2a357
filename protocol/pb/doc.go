// Package pb is the protobuf schema of the push server as generated code. The server itself reads and writes these messages
// by hand, in package protocol; tests compare the two, and tools that do not count bytes may use this one.
//
// To generate it anew: protoc, and google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12 in the PATH.
package pb

//go:generate protoc --go_out=. --go_opt=paths=source_relative push.proto
