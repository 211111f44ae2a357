package protocol

// ChannelID names a channel. Private and public ids are two name spaces.
type ChannelID struct {
	Bytes   [16]byte
	Private bool
}
