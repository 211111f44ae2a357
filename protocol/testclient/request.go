package testclient

// A Receiver is a channel that a publication is for.
type Receiver struct {
	ID        []byte
	Private   bool
	Signature []byte
}

// A Publication is one message of a request.
type Publication struct {
	Receivers []Receiver
	Body      string
	Expiry    uint32 // seconds
}

// AppendPublish appends a RequestBatch that publishes.
func AppendPublish(dst []byte, publications ...Publication) []byte {
	var messages []byte
	for _, p := range publications {
		messages = appendBytes(messages, 1, appendPublication(nil, p))
	}
	return appendBytes(dst, 1, appendBytes(nil, 1, messages))
}

// AppendChannelStats appends a RequestBatch that asks who is online.
func AppendChannelStats(dst []byte, channels ...Receiver) []byte {
	var list []byte
	for _, c := range channels {
		list = appendBytes(list, 1, appendReceiver(nil, c))
	}
	return appendBytes(dst, 1, appendBytes(nil, 2, list))
}

// AppendCommand appends a RequestBatch with an empty command of that number.
func AppendCommand(dst []byte, number int) []byte {
	return appendBytes(dst, 1, appendBytes(nil, number, nil))
}

func appendPublication(dst []byte, p Publication) []byte {
	for _, r := range p.Receivers {
		dst = appendBytes(dst, 1, appendReceiver(nil, r))
	}
	dst = appendBytes(dst, 3, []byte(p.Body))
	return appendNumber(dst, 4, uint64(p.Expiry))
}

func appendReceiver(dst []byte, r Receiver) []byte {
	dst = appendBytes(dst, 1, r.ID)
	if r.Private {
		dst = appendNumber(dst, 2, 1)
	}
	if r.Signature != nil {
		dst = appendBytes(dst, 3, r.Signature)
	}
	return dst
}
