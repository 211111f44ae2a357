package protocol

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// The marks around each message in text framing.
const (
	textBegin = "#!NGINXNMS!#"
	textEnd   = "#!NGINXNME!#"
)

// httpTime is the layout of a date in HTTP (RFC 9110, 5.6.7); the time must be UTC.
const httpTime = "Mon, 02 Jan 2006 15:04:05 GMT"

// AppendText appends the publication in text framing. nowMillis, the Unix time in milliseconds, is shown as the time of the
// conversion.
func AppendText(dst []byte, p *Publication, nowMillis int64) []byte {
	dst = append(dst, textBegin+`{"id":`...)
	dst = strconv.AppendUint(dst, p.ID.Counter(), 10)
	dst = append(dst, `,"mid":"`...)
	dst = p.ID.AppendDigits(dst)
	dst = append(dst, `","channel":"-","tag":"`...)
	dst = appendThreeDigits(dst, nowMillis%1000)
	dst = append(dst, `","time":"`...)
	dst = time.UnixMilli(nowMillis).UTC().AppendFormat(dst, httpTime)
	dst = append(dst, `","text":`...)
	dst = append(dst, textBody(p.Body)...)
	return append(dst, `}`+textEnd...)
}

func appendThreeDigits(dst []byte, n int64) []byte {
	return append(dst, '0'+byte(n/100), '0'+byte(n/10%10), '0'+byte(n%10))
}

// textBreakers is what makes clients overlook a message: they look for it with a pattern that does not cross a line end and
// that stops at the first end mark. Within JSON each of them has another form that means the same. Raw line feeds stand only
// between the parts of JSON, the others only within its strings.
var textBreakers = []struct{ raw, harmless []byte }{
	{[]byte("\n"), nil},
	{[]byte("\r"), nil},
	{[]byte("\u2028"), []byte(`\u2028`)},
	{[]byte("\u2029"), []byte(`\u2029`)},
	{[]byte(textEnd), []byte(textEnd[:len(textEnd)-1] + `\u0023`)},
}

// textBody is the body in the form that clients find. A body that is not JSON stays as it is. Package json decides what is: sonic lets
// raw line feeds in strings and broken escapes pass, and few bodies get here.
func textBody(body []byte) []byte {
	knownJSON := false
	for _, b := range textBreakers {
		if !bytes.Contains(body, b.raw) {
			continue
		}
		if !knownJSON && !json.Valid(body) {
			return body
		}
		knownJSON = true
		body = bytes.ReplaceAll(body, b.raw, b.harmless)
	}
	return body
}
