package protocol

// notificationSchema follows notifications (1) to ipcMessages (1), their messages (1), and these to receivers (1) and
// outgoingMessage (3); beside it ipcLicenses (2) with licenses (1) and their license (1).
var notificationSchema = schema{1: {1: {1: {1: {}, 3: outgoingSchema}}, 2: {1: {1: {}}}}}

// AppendNotification appends the envelope in which processes tell each other of a publication: a NotificationBatch with one
// IPCMessage. It ends with the publication as it is stored.
func AppendNotification(dst []byte, p *Publication) []byte {
	outgoing := SizeStored(p)
	n := sizeBytes(outgoing)
	for i := range p.Receivers {
		n += sizeBytes(sizeReceiver(&p.Receivers[i]))
	}
	dst = appendLength(dst, 1, sizeBytes(sizeBytes(n))) // Notification
	dst = appendLength(dst, 1, sizeBytes(n))            // IPCMessages
	dst = appendLength(dst, 1, n)                       // IPCMessage
	for i := range p.Receivers {
		r := &p.Receivers[i]
		dst = appendLength(dst, 1, sizeReceiver(r))
		dst = appendReceiver(dst, r)
	}
	dst = appendLength(dst, 3, outgoing)
	return appendStored(dst, p)
}

func appendReceiver(dst []byte, r *Receiver) []byte {
	dst = appendBytes(dst, 1, r.Channel.Bytes[:])
	if r.tellsPrivate() {
		dst = appendBool(dst, 2, r.Channel.Private)
	}
	if r.Signature != nil {
		dst = appendBytes(dst, 3, r.Signature)
	}
	return dst
}

func sizeReceiver(r *Receiver) int {
	n := sizeBytes(len(r.Channel.Bytes))
	if r.tellsPrivate() {
		n += sizeVarint(1)
	}
	if r.Signature != nil {
		n += sizeBytes(len(r.Signature))
	}
	return n
}

// tellsPrivate says whether isPrivate is written: always but for receivers of clients, who leave it out.
func (r *Receiver) tellsPrivate() bool { return r.Channel.Private || r.Signature == nil }

// ParseNotifications calls f with each publication of a NotificationBatch, in order. Each is new and names the receivers
// whose ids have 16 bytes, perhaps none. What it holds aliases b, so b must not change while a publication is in use. Messages
// without a publication, or with one that has no proper id, are left out. If b cannot be decoded, f is never called.
func ParseNotifications(b []byte, f func(p *Publication)) error {
	if !notificationSchema.valid(b) {
		return errMalformed
	}
	for notification := range fields(b) {
		if notification.isBytes(1) {
			readNotification(notification.bytes, f)
		}
	}
	return nil
}

// readNotification calls f with each publication of a valid Notification, of which the last command counts.
func readNotification(b []byte, f func(p *Publication)) {
	var messages []byte
	for command := range fields(b) {
		switch {
		case command.isBytes(1):
			messages = command.bytes
		case command.isBytes(2):
			messages = nil
		}
	}
	for message := range fields(messages) {
		if !message.isBytes(1) {
			continue
		}
		if p := readMessage(message.bytes); p != nil {
			f(p)
		}
	}
}

// readMessage reads a valid IPCMessage. It answers nil if there is no publication in it.
func readMessage(b []byte) *Publication {
	p := newPublication(countBytes(b, 1))
	complete := false
	for f := range fields(b) {
		switch {
		case f.isBytes(1):
			if r, ok := readReceiver(f.bytes); ok {
				p.Receivers = append(p.Receivers, r)
			}
		case f.isBytes(3):
			complete = p.readOutgoing(f.bytes)
		}
	}
	if !complete {
		return nil
	}
	return p
}

func readReceiver(b []byte) (r Receiver, ok bool) {
	w := readAddressee(b)
	r.Channel, ok = channelID(w.id, w.private)
	r.Signature = w.signature
	return r, ok
}

// addressee is a Receiver or ChannelId as it stands in a message: the id may have any length.
type addressee struct {
	id        []byte
	private   bool
	signature []byte
}

func readAddressee(b []byte) (a addressee) {
	for f := range fields(b) {
		switch {
		case f.isBytes(1):
			a.id = f.bytes
		case f.isVarint(2):
			a.private = f.scalar != 0
		case f.isBytes(3):
			a.signature = f.bytes
		}
	}
	return a
}
