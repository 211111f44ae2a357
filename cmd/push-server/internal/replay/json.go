package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// compareJSON matches a JSON text with an expected one. In the expected one
// a text such as "${:num}" stands for a number, and the key "..." allows
// more keys. With each, every element of an array has to match.
func compareJSON(want string, got []byte, each bool, v vars) error {
	wantValue, err := parseJSON([]byte(want))
	if err != nil {
		return fmt.Errorf("expected JSON: %w", err)
	}
	gotValue, err := parseJSON(got)
	if err != nil {
		return fmt.Errorf("want JSON\ngot  %s", preview(got))
	}
	if !each {
		return matchJSON("body", wantValue, gotValue, v)
	}
	list, ok := gotValue.([]any)
	if !ok || len(list) == 0 {
		return fmt.Errorf("want a filled array\ngot  %s", preview(got))
	}
	for i, element := range list {
		if err := matchJSON(fmt.Sprintf("body[%d]", i), wantValue, element, v); err != nil {
			return err
		}
	}
	return nil
}

func parseJSON(text []byte) (value any, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	err = dec.Decode(&value)
	return value, err
}

func matchJSON(path string, want, got any, v vars) error {
	switch want := want.(type) {
	case map[string]any:
		if got, ok := got.(map[string]any); ok {
			return matchObject(path, want, got, v)
		}
	case []any:
		if got, ok := got.([]any); ok && len(got) == len(want) {
			for i := range want {
				if err := matchJSON(fmt.Sprintf("%s[%d]", path, i), want[i], got[i], v); err != nil {
					return err
				}
			}
			return nil
		}
	case string:
		if err := matchScalar(want, got, v); err != nil {
			return fmt.Errorf("%s\n%w", path, err)
		}
		return nil
	default:
		if want == got {
			return nil
		}
	}
	return fmt.Errorf("%s\nwant %v\ngot  %v", path, want, got)
}

func matchObject(path string, want, got map[string]any, v vars) error {
	_, open := want["..."]
	var missing, extra []string
	for name := range want {
		if _, ok := got[name]; !ok && name != "..." {
			missing = append(missing, name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok && !open {
			extra = append(extra, name)
		}
	}
	if len(missing)+len(extra) > 0 {
		slices.Sort(missing)
		slices.Sort(extra)
		return fmt.Errorf("%s\nmissing keys %v\nextra keys %v", path, missing, extra)
	}
	for name, value := range want {
		if name == "..." {
			continue
		}
		if err := matchJSON(path+"."+name, value, got[name], v); err != nil {
			return err
		}
	}
	return nil
}

// matchScalar compares a text. Only a text that is one number placeholder
// may stand for a number, and only "${:any}" for anything.
func matchScalar(want string, got any, v vars) error {
	switch got := got.(type) {
	case string:
		return v.match(want, got)
	case json.Number:
		if strings.HasPrefix(want, "${") && strings.HasSuffix(want, "}") {
			return v.match(want, got.String())
		}
	}
	if want == "${:any}" {
		return nil
	}
	return fmt.Errorf("want %q\ngot  %v", want, got)
}
