package testclient

import (
	"encoding/json"
	"fmt"
)

// ParseCalls reads the messages of a frame or body of version 5: one call, or
// an array. Answers are passed over.
func ParseCalls(b []byte) (ms []Message, err error) {
	var calls []json.RawMessage
	if len(b) == 0 || b[0] != '[' {
		calls = []json.RawMessage{b}
	} else if err := json.Unmarshal(b, &calls); err != nil {
		return nil, fmt.Errorf("%w: %w: %.100q", ErrFraming, err, b)
	}
	for _, raw := range calls {
		var call struct {
			Version string `json:"jsonrpc"`
			Method  string
			Params  struct {
				Mid    string
				Body   json.RawMessage
				Sender struct{ Type uint64 }
			}
		}
		err := json.Unmarshal(raw, &call)
		if err != nil || call.Version != "2.0" {
			return nil, fmt.Errorf("%w: %w: %.100q", ErrFraming, err, raw)
		}
		if call.Method == "incoming.message" {
			ms = append(ms, Message{ID: call.Params.Mid, Body: string(call.Params.Body), Sender: call.Params.Sender.Type, Raw: string(raw)})
		}
	}
	return ms, nil
}
