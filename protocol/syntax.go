package protocol

import "fmt"

// A SyntaxError says where an item of CHANNEL_ID breaks the grammar, for people who look for the reason of a refusal.
type SyntaxError struct {
	Offset  int // of the character that does not fit, or the length of the item if something is missing at its end
	Problem string
}

// Error counts characters from 1, as editors do.
func (e *SyntaxError) Error() string { return fmt.Sprintf("character %d: %s", e.Offset+1, e.Problem) }

// ParseItem reads one item of CHANNEL_ID, "priv[:pub][.signature]", without checking its signature, which is empty if there is none.
// It takes what AppendItems takes; the error is a *SyntaxError.
func ParseItem(text []byte) (it Item, signature []byte, err error) {
	signature, ok := it.parse(text)
	if !ok {
		return Item{}, nil, explainItem(text)
	}
	return it, signature, nil
}

// explainItem looks for the reason why an item was not read.
func explainItem(text []byte) error {
	at, err := explainDigits(text, 0, "the private id", idDigits, idDigits)
	if err == nil && at < len(text) && text[at] == ':' {
		at, err = explainDigits(text, at+1, "the public id", idDigits, idDigits)
	}
	if err == nil && at < len(text) && text[at] == '.' {
		at, err = explainDigits(text, at+1, "the signature", minSignatureDigits, maxSignatureDigits)
	}
	if err != nil {
		return err
	}
	return &SyntaxError{at, fmt.Sprintf("%q does not belong into a channel id", text[at:min(at+1, len(text))])}
}

// explainDigits returns where the digits that begin at start end.
func explainDigits(text []byte, start int, what string, least, most int) (end int, err error) {
	end = start
	for end < len(text) && hexValue[text[end]] <= 15 {
		end++
	}
	n := end - start
	stray := end < len(text) && text[end] != ':' && text[end] != '.'
	switch {
	case n > most:
		return 0, &SyntaxError{start + most, fmt.Sprintf("%s has %d digits, at most %d are allowed", what, n, most)}
	case stray && text[end] >= 'A' && text[end] <= 'F':
		return 0, &SyntaxError{end, fmt.Sprintf("%q in %s: hex digits must be lower case", text[end:end+1], what)}
	case stray:
		return 0, &SyntaxError{end, fmt.Sprintf("%q in %s is not a hex digit", text[end:end+1], what)}
	case n < least:
		return 0, &SyntaxError{end, fmt.Sprintf("%s has %d digits, at least %d are needed", what, n, least)}
	}
	return end, nil
}
