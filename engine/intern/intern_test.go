package intern

import (
	"fmt"
	"strings"
	"testing"
)

func TestTextsAreShared(t *testing.T) {
	t.Parallel()
	var table Table
	first, again, other := table.Take([]byte("Firefox")), table.Take([]byte("Firefox")), table.Take([]byte("Chrome"))
	if first == 0 || first != again || other == first || table.Text(first) != "Firefox" || table.Text(other) != "Chrome" {
		t.Error(first, again, other)
	}
	if id := table.Take(nil); id != 0 || table.Text(id) != "" {
		t.Error(id)
	}
	table.Drop(0)
	if text := table.Text(table.Take([]byte(strings.Repeat("x", 1000)))); len(text) != maxText {
		t.Error(len(text))
	}
}

// Whoever is there keeps its text, however many others come; unused places are taken again.
func TestTableIsBounded(t *testing.T) {
	t.Parallel()
	var table Table
	stays := table.Take([]byte("stays"))
	for i := range 10 * maxTexts {
		table.Drop(table.Take(fmt.Appendf(nil, "goes %d", i)))
	}
	if table.Text(stays) != "stays" || len(table.ids) > maxTexts || len(table.texts) > maxTexts+1 {
		t.Error(table.Text(stays), len(table.ids), len(table.texts))
	}
	var held []uint8
	for i := range 2 * maxTexts {
		held = append(held, table.Take(fmt.Appendf(nil, "holds %d", i)))
	}
	if table.Text(held[0]) != "holds 0" || held[len(held)-1] != 0 || table.Take([]byte("stays")) != stays {
		t.Error(held[0], held[len(held)-1])
	}
	for _, id := range held {
		table.Drop(id)
	}
	if id := table.Take([]byte("comes")); table.Text(id) != "comes" {
		t.Error(id)
	}
}

func TestNothingIsAllocatedForKnownTexts(t *testing.T) {
	var table Table
	text := []byte("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	table.Drop(table.Take(text))
	if n := testing.AllocsPerRun(100, func() { table.Drop(table.Take(text)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTake(b *testing.B) {
	var table Table
	text := []byte("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	for b.Loop() {
		table.Drop(table.Take(text))
	}
}
