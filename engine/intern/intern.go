// Package intern keeps texts that many share once each, under a small number: what browsers call themselves, for example.
package intern

// What a Table holds at most: 40 KiB of texts.
const (
	maxTexts = 255
	maxText  = 160 // bytes; what is behind them is cut off
)

// Table has the texts of one loop, whose goroutine owns it. The zero value is ready.
//
// A text that nobody uses stays until its place is needed, so that one who goes and comes again costs nothing. There is no place for a
// text while as many others are in use: whoever brings it then has none.
type Table struct {
	ids   map[string]uint8
	texts []shared
	hand  int // where the search for an unused place goes on
}

type shared struct {
	text string
	uses uint32
}

// Take returns the number of text, which it has until it is dropped as often as it was taken. 0 is no text, or one there is no place for.
func (t *Table) Take(text []byte) uint8 {
	if len(text) == 0 {
		return 0
	}
	text = text[:min(len(text), maxText)]
	id, known := t.ids[string(text)]
	if !known {
		if id = t.place(); id == 0 {
			return 0
		}
		s := string(text)
		t.ids[s] = id
		t.texts[id].text = s
	}
	t.texts[id].uses++
	return id
}

// place returns the number of a place for another text; 0: all are in use.
func (t *Table) place() uint8 {
	if t.ids == nil {
		t.ids, t.texts = make(map[string]uint8), make([]shared, 1)
	}
	if len(t.texts) <= maxTexts {
		t.texts = append(t.texts, shared{})
		return uint8(len(t.texts) - 1)
	}
	for range maxTexts {
		t.hand = t.hand%maxTexts + 1
		if t.texts[t.hand].uses == 0 {
			delete(t.ids, t.texts[t.hand].text)
			return uint8(t.hand)
		}
	}
	return 0
}

// Drop ends one use of a number, which may be 0.
func (t *Table) Drop(id uint8) {
	if id == 0 {
		return
	}
	if t.texts[id].uses == 0 {
		panic("BUG: intern: a text is dropped more often than it was taken")
	}
	t.texts[id].uses--
}

// Text is what id stands for; "": it is 0.
func (t *Table) Text(id uint8) string {
	if id == 0 {
		return ""
	}
	return t.texts[id].text
}
