package target

import (
	"maps"
	"strings"
	"testing"

	"encoding/json"
)

func TestSamplesAreSummedOverLabels(t *testing.T) {
	got := parseSamples(strings.NewReader(`# HELP a b
go_gc_duration_seconds{quantile="0"} 1.5e-05
go_gc_duration_seconds_count 7
push_closes_total{reason="a b} c"} 2
push_closes_total{reason="d"} 3 1700000000
nonsense
`))
	want := Samples{"go_gc_duration_seconds": 1.5e-05, "go_gc_duration_seconds_count": 7, "push_closes_total": 5}
	if !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func TestMerge(t *testing.T) {
	f := func(to, from, want string) {
		t.Helper()
		var a, b map[string]any
		if err := json.Unmarshal([]byte(to), &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(from), &b); err != nil {
			t.Fatal(err)
		}
		merge(a, b)
		if got, _ := json.Marshal(a); string(got) != want {
			t.Errorf("%s + %s = %s, want %s", to, from, got, want)
		}
	}
	f(`{"a":1,"b":{"c":2}}`, `{"b":{"d":3}}`, `{"a":1,"b":{"c":2,"d":3}}`)
	f(`{"a":1,"b":{"c":2}}`, `{"a":null,"b":[1]}`, `{"b":[1]}`)
}

func TestUnknownKindIsAnError(t *testing.T) {
	if _, err := Start(t.Context(), Options{Kind: "nonsense"}); err == nil || !strings.Contains(err.Error(), "push-server") {
		t.Errorf("%v", err)
	}
}

func TestProgramThatEndsIsAnErrorWithItsLastWords(t *testing.T) {
	_, err := Start(t.Context(), Options{Kind: PushServerMemory, Binary: "/bin/false"})
	if err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("%v", err)
	}
}
