package phparray

import (
	"fmt"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	f := func(text string, want any, keys ...string) {
		t.Helper()
		v, err := Parse("<?php\n" + text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			return
		}
		got, ok := v.Get(keys...)
		if !ok || fmt.Sprintf("%#v", got.Of) != fmt.Sprintf("%#v", want) {
			t.Errorf("%s: %v is %#v, want %#v", text, keys, got.Of, want)
		}
	}
	f(`return array('a' => array('b' => 'c'));`, "c", "a", "b")
	f(`return ['a' => ['b' => "c\n$", 'd' => 1,],];`, int64(1), "a", "d")
	f(`return ['a' => 'it\'s \n \\'];`, `it's \n \`, "a")
	f(`return ["a" => "1\t\$x"];`, "1\t$x", "a")
	f(`return ["a" => "$x"];`, Unknown{}, "a")
	f(`return ['a' => 'b' . 'c'];`, "bc", "a")
	f(`return ['a' => 'b' . getenv('X'), 'd' => true];`, Unknown{}, "a")
	f(`return ['a' => getenv('X, ]') ?: 'y', 'd' => true];`, true, "d")
	f(`return ['a' => $_SERVER['B'], 'd' => null];`, nil, "d")
	f(`return [Some\Thing::class => 1, 'd' => -3, 'e' => 1.5];`, int64(-3), "d")
	f(`return ['x', 'y', 7 => 'z', 'w'];`, "w", "8")
	f("# one\n// two ' \n/* three \" */ return [ /* four */ 'a' => FALSE ];", false, "a")
	f(`if (file_exists('x')) { return2(); } $x = ['q' => 1]; return ['a' => (function() { return [1]; })(), 'b' => 2];`, int64(2), "b")
}

func TestLinesOfValues(t *testing.T) {
	v, err := Parse("<?php\nreturn [\n'a' =>\n 'b',\n/*\n*/ 'c' => 'd'];")
	if err != nil {
		t.Fatal(err)
	}
	a, _ := v.Get("a")
	c, _ := v.Get("c")
	if a.Line != 4 || c.Line != 6 {
		t.Errorf("lines %d and %d, want 4 and 6", a.Line, c.Line)
	}
}

func TestWhatIsNoArray(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	f(``, "no <?php")
	f(`<?php`, "no array")
	f(`<?php return 5;`, "not an array")
	f(`<?php return ['a' => ;`, "value is missing")
	f("<?php\n\nreturn ['a' => 'b", "line 3: a text has no end")
	f(`<?php return ['a' => 'b' 'c'`, "missing")
	f(`<?php return ['a' => 'b'`, "missing")
	f(`<?php return `+strings.Repeat("[", 1000), "too deep")
}

func FuzzParse(f *testing.F) {
	f.Add("<?php return ['a' => array(1, 'x' => \"y\" . 'z'), ];")
	f.Add("<?php /* */ # \n return [f(1)['a'] => -1.5e3];")
	f.Fuzz(func(t *testing.T, text string) {
		v, err := Parse(text)
		if _, ok := v.Of.(Array); err == nil && !ok {
			t.Error("no array and no error")
		}
	})
}
