package configs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// object is a JSON object that keeps the order of its keys, because statistics show limits in the order of the file. Its values are
// *object, []any, string, json.Number, bool or nil.
type object struct {
	keys   []string
	values map[string]any
	twice  []string // keys that were there already when they came
}

func (o *object) set(key string, value any) {
	if _, ok := o.values[key]; ok {
		o.twice = append(o.twice, key)
	} else {
		o.keys = append(o.keys, key)
	}
	o.values[key] = value
}

// MarshalJSON keeps the order of keys.
func (o *object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, key := range o.keys {
		name, err := json.Marshal(key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(o.values[key])
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}'), nil
}

// parseTree reads strict JSON whose top level is an object. Of a key given twice the last value counts, as in JavaScript.
func parseTree(text []byte) (*object, error) {
	if err := checkSyntax(text); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := parseValue(d)
	if err != nil {
		return nil, err
	}
	o, ok := v.(*object)
	if !ok {
		return nil, errors.New("must be an object, beginning with {")
	}
	return o, nil
}

func checkSyntax(text []byte) error {
	var raw json.RawMessage
	err := json.Unmarshal(text, &raw)
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	return fmt.Errorf("%s: %w", place(text, int(syntax.Offset)-1), err)
}

// place is where the byte at offset stands.
func place(text []byte, offset int) string {
	before := text[:max(0, min(offset, len(text)))]
	line := bytes.Count(before, []byte{'\n'}) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Sprintf("line %d, column %d", line, column)
}

func parseValue(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		return parseObject(d)
	case json.Delim('['):
		return parseArray(d)
	}
	return t, nil
}

func parseObject(d *json.Decoder) (any, error) {
	o := &object{values: map[string]any{}}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		value, err := parseValue(d)
		if err != nil {
			return nil, err
		}
		o.set(key.(string), value)
	}
	_, err := d.Token()
	return o, err
}

func parseArray(d *json.Decoder) (any, error) {
	list := []any{}
	for d.More() {
		value, err := parseValue(d)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	_, err := d.Token()
	return list, err
}
