package testclient

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Token is what PHP gives a user of version 5; 0: a guest.
func Token(key string, expires int64, user int, channels ...string) string {
	claims := map[string]any{"iss": "host", "iat": time.Now().Unix(), "exp": expires}
	if user != 0 {
		claims["sub"] = strconv.Itoa(user)
	}
	if channels != nil {
		claims["chan"] = strings.Join(channels, ",")
	}
	text, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return SignToken(key, `{"typ":"JWT","alg":"HS256"}`, string(text))
}

// SignToken makes a token of any header and claims.
func SignToken(key, header, claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(header)) + "." + encode([]byte(claims))
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(token))
	return token + "." + encode(mac.Sum(nil))
}
