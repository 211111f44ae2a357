package replay

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// vars holds the values behind ${name}.
type vars map[string]string

// classes are the patterns that ${name:class} may ask for.
var classes = map[string]string{
	"mid":     `[0-9]{26}`,
	"counter": `[0-9]{16}`,
	"num":     `[0-9]+`,
	"unix":    `[0-9]{10}`,
	"tag":     `[0-9]{3}`,
	"hex":     `[0-9a-f]+`,
	"word":    `[^\s":,/]+`,
	"any":     `.*?`,
	"date":    `(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT`,
	"stamp":   `[0-9]{13}`,
}

var placeholder = regexp.MustCompile(`\$\{([A-Za-z0-9_.]*)(?:([:|])([a-z]+))?\}`)

// expand replaces every placeholder in s by its value.
func (v vars) expand(s string) (string, error) {
	var failed error
	out := placeholder.ReplaceAllStringFunc(s, func(ref string) string {
		value, err := v.lookup(ref)
		if err != nil && failed == nil {
			failed = err
		}
		return value
	})
	return out, failed
}

// lookup gives the value of one placeholder, with its filter applied.
func (v vars) lookup(ref string) (string, error) {
	m := placeholder.FindStringSubmatch(ref)
	value, ok := v[m[1]]
	if !ok {
		return "", fmt.Errorf("%s has no value", ref)
	}
	if m[2] == "" {
		return value, nil
	}
	if m[2] == ":" {
		return "", fmt.Errorf("%s can only be expected, not sent", ref)
	}
	return filter(m[3], value)
}

// filter applies the filter of ${name|filter}.
func filter(name, value string) (string, error) {
	switch name {
	case "upper":
		return strings.ToUpper(value), nil
	case "url":
		return url.QueryEscape(value), nil
	case "raw":
		b, err := hex.DecodeString(value)
		return string(b), err
	}
	return "", fmt.Errorf("no filter %q", name)
}

// match compares actual with a pattern and stores what it captures.
func (v vars) match(pattern, actual string) error {
	expr, names, err := v.compile(pattern)
	if err != nil {
		return err
	}
	found := expr.FindStringSubmatch(actual)
	if found == nil {
		shown := pattern
		if text, err := v.expand(pattern); err == nil {
			shown = text
		}
		return fmt.Errorf("want %s\ngot  %s", shown, actual)
	}
	for i, name := range names {
		if name != "" {
			v[name] = found[i+1]
		}
	}
	return nil
}

// compile turns a pattern into a regular expression and the names of its
// groups.
func (v vars) compile(pattern string) (*regexp.Regexp, []string, error) {
	var expr strings.Builder
	var names []string
	rest := pattern
	for {
		at := placeholder.FindStringSubmatchIndex(rest)
		if at == nil {
			break
		}
		expr.WriteString(regexp.QuoteMeta(rest[:at[0]]))
		ref := rest[at[0]:at[1]]
		rest = rest[at[1]:]
		m := placeholder.FindStringSubmatch(ref)
		if m[2] != ":" {
			value, err := v.lookup(ref)
			if err != nil {
				return nil, nil, err
			}
			expr.WriteString(regexp.QuoteMeta(value))
			continue
		}
		class, ok := classes[m[3]]
		if !ok {
			return nil, nil, fmt.Errorf("no class %q", m[3])
		}
		expr.WriteString("(" + class + ")")
		names = append(names, m[1])
	}
	expr.WriteString(regexp.QuoteMeta(rest))
	re, err := regexp.Compile(`(?s)^` + expr.String() + `$`)
	return re, names, err
}

// clone is used to try an alternative without keeping its captures.
func (v vars) clone() vars { return maps.Clone(v) }

var algorithms = map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New, "md5": md5.New}

// sign makes a signature that clients carry.
func (s *Servers) sign(text string) string {
	algo := algorithms[s.Algo]
	if algo == nil {
		algo = sha1.New
	}
	mac := hmac.New(algo, []byte(s.Key))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// addChannel invents a channel and stores everything that can be said about
// it: NAME.priv, NAME.pub, the signed forms NAME.id and NAME.alone, and the
// signatures NAME.sig, NAME.privsig and NAME.pubsig.
func (v vars) addChannel(name string, s *Servers) {
	priv, pub := randomID(), randomID()
	v[name+".priv"] = priv
	v[name+".pub"] = pub
	v[name+".sig"] = s.sign(priv + ":" + pub)
	v[name+".privsig"] = s.sign(priv)
	v[name+".pubsig"] = s.sign("public:" + pub)
	v[name+".id"] = priv + ":" + pub + "." + v[name+".sig"]
	v[name+".alone"] = priv + "." + v[name+".privsig"]
}

func randomID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// unescape resolves the escapes \r \n \t \\ \xHH and \uXXXX.
func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var out []byte
	for len(s) > 0 {
		if s[0] != '\\' {
			out = append(out, s[0])
			s = s[1:]
			continue
		}
		r, multibyte, rest, err := strconv.UnquoteChar(s, 0)
		if err != nil {
			return "", fmt.Errorf("bad escape at %q", s)
		}
		if multibyte {
			out = append(out, string(r)...)
		} else {
			out = append(out, byte(r))
		}
		s = rest
	}
	return string(out), nil
}

// escape writes bytes so that unescape gives them back.
func escape(s string) string {
	quoted := strconv.QuoteToGraphic(s)
	quoted = quoted[1 : len(quoted)-1]
	quoted = strings.ReplaceAll(quoted, `\"`, `"`)
	return strings.NewReplacer("\u2028", `\u2028`, "\u2029", `\u2029`).Replace(quoted)
}
