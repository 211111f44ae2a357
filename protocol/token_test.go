package protocol

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// jwt is a token as PHP makes it.
func jwt(key, header, claims string) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

const (
	usualHeader = `{"typ":"JWT","alg":"HS256"}`
	tokenNow    = 1_800_000_000
)

// readsTokens reads tokens with keys, and sees that each is refused for the fault, or has a user and so many channels.
func readsTokens(t *testing.T, keys ...string) func(text string, want TokenFault, user uint64, channels int) {
	var list [][]byte
	for _, key := range keys {
		list = append(list, []byte(key))
	}
	r := NewTokenReader(list...)
	return func(text string, want TokenFault, user uint64, channels int) {
		t.Helper()
		var token Token
		got := r.Read(&token, []byte(text), tokenNow)
		if got != want || want == TokenFine && (token.User != user || len(token.Channels) != channels) {
			t.Errorf("%s: %q, %+v", text, got, token)
		}
	}
}

func TestReadToken(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef"
	f := readsTokens(t, "new key", "old key")
	fine := fmt.Sprintf(`{"iss":"x","iat":%d,"exp":%d,"sub":"17","chan":"%s"}`, tokenNow-10, tokenNow+100, id)
	f(jwt("new key", usualHeader, fine), TokenFine, 17, 1)
	f(jwt("old key", usualHeader, fine), TokenFine, 17, 1)
	f(jwt("another", usualHeader, fine), TokenSignature, 0, 0)
	f(jwt("new key", `{"alg":"none"}`, fine), TokenAlgorithm, 0, 0)
	f(jwt("new key", `{"alg":"HS512"}`, fine), TokenAlgorithm, 0, 0)
	f(jwt("new key", `{"alg":"hs256"}`, fine), TokenAlgorithm, 0, 0)
	f(jwt("new key", `{"typ":"JWT"}`, fine), TokenAlgorithm, 0, 0)
	f(jwt("new key", `["HS256"]`, fine), TokenMalformed, 0, 0)
	f(jwt("new key", usualHeader, `[]`), TokenMalformed, 0, 0)
	f(jwt("new key", usualHeader, `{`), TokenMalformed, 0, 0)
	f("", TokenMalformed, 0, 0)
	f("..", TokenMalformed, 0, 0)
	whole := jwt("new key", usualHeader, fine)
	f(whole+".", TokenMalformed, 0, 0)
	f(whole+".x", TokenMalformed, 0, 0)
	f(whole[:strings.LastIndexByte(whole, '.')], TokenMalformed, 0, 0)
	f(whole[:len(whole)-1], TokenSignature, 0, 0)
	f(whole+"=", TokenSignature, 0, 0)
	f(strings.Replace(whole, ".", "=.", 1), TokenMalformed, 0, 0)
	f(jwt("new key", usualHeader, fine+strings.Repeat(" ", maxToken)), TokenMalformed, 0, 0)

}

func TestReadClaims(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef"
	f := readsTokens(t, "new key")
	expires := func(at int64, want TokenFault) {
		t.Helper()
		f(jwt("new key", usualHeader, fmt.Sprintf(`{"exp":%d,"sub":"1"}`, at)), want, 1, 0)
	}
	expires(tokenNow-59, TokenFine)
	expires(tokenNow-60, TokenFine)
	expires(tokenNow-61, TokenExpired)
	f(jwt("new key", usualHeader, `{"sub":"1"}`), TokenExpired, 0, 0)
	f(jwt("new key", usualHeader, `{"exp":"1900000000","sub":"1"}`), TokenMalformed, 0, 0)
	f(jwt("new key", usualHeader, fmt.Sprintf(`{"exp":%d,"iat":%d,"sub":"1"}`, tokenNow, tokenNow+60)), TokenFine, 1, 0)
	f(jwt("new key", usualHeader, fmt.Sprintf(`{"exp":%d,"iat":%d,"sub":"1"}`, tokenNow, tokenNow+61)), TokenEarly, 0, 0)

	sub := func(sub string, want TokenFault, user uint64) {
		t.Helper()
		f(jwt("new key", usualHeader, fmt.Sprintf(`{"exp":%d,"sub":%s}`, tokenNow, sub)), want, user, 0)
	}
	sub(`"1"`, TokenFine, 1)
	sub(`"9007199254740991"`, TokenFine, 1<<53-1)
	sub(`"9007199254740992"`, TokenUser, 0)
	sub(`"0"`, TokenUser, 0)
	sub(`"-1"`, TokenUser, 0)
	sub(`"01"`, TokenUser, 0)
	sub(`"1 "`, TokenUser, 0)
	sub(`"99999999999999999999"`, TokenUser, 0)
	sub(`1`, TokenMalformed, 0)
	sub(`""`, TokenEmpty, 0)

	list := func(list string, channels int) {
		t.Helper()
		f(jwt("new key", usualHeader, fmt.Sprintf(`{"exp":%d,"sub":"1","chan":"%s"}`, tokenNow, list)), TokenFine, 1, channels)
	}
	list("", 0)
	list(id+","+id, 2)
	list(strings.ToUpper(id)+","+id, 1)
	list(id[1:]+",,"+id+"0,"+id, 1)
	list(strings.TrimSuffix(strings.Repeat(id+",", 17), ","), 16)
	f(jwt("new key", usualHeader, fmt.Sprintf(`{"exp":%d,"chan":"x"}`, tokenNow)), TokenEmpty, 0, 0)
	f(jwt("new key", usualHeader, fmt.Sprintf(`{"exp":%d,"chan":"%s"}`, tokenNow, id)), TokenFine, 0, 1)
}

func TestUserChannels(t *testing.T) {
	if UserChannel(17) == UserChannel(18) || !UserChannel(1).Private {
		t.Error("users share a channel")
	}
}

func FuzzReadToken(f *testing.F) {
	r := NewTokenReader([]byte("key"))
	f.Add([]byte(jwt("key", usualHeader, `{"exp":1900000000,"sub":"1","chan":"a,b"}`)), `{"exp":1900000000,"sub":"1"}`)
	f.Fuzz(func(t *testing.T, text []byte, claims string) {
		var token Token
		r.Read(&token, text, tokenNow)
		if r.Read(&token, []byte(jwt("key", usualHeader, claims)), tokenNow) == TokenFine &&
			(token.User == 0 && len(token.Channels) == 0 || token.User > maxUser || token.Expires < tokenNow-clockSkew) {
			t.Errorf("%q is read as %+v", claims, token)
		}
	})
}
