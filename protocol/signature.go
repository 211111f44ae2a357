package protocol

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/ripemd160"
)

// DefaultAlgorithm is the digest of signatures when none is named.
const DefaultAlgorithm = "sha1"

// ErrEmptyKey says that a Signer needs a key.
var ErrEmptyKey = errors.New("protocol: empty security key")

// digests are the HMAC digests under the names that OpenSSL gives them.
var digests = map[string]func() hash.Hash{
	"md5":        md5.New,
	"ripemd160":  ripemd160.New,
	"sha1":       sha1.New,
	"sha224":     sha256.New224,
	"sha256":     sha256.New,
	"sha384":     sha512.New384,
	"sha512":     sha512.New,
	"sha512-224": sha512.New512_224,
	"sha512-256": sha512.New512_256,
	"sha3-224":   func() hash.Hash { return sha3.New224() },
	"sha3-256":   func() hash.Hash { return sha3.New256() },
	"sha3-384":   func() hash.Hash { return sha3.New384() },
	"sha3-512":   func() hash.Hash { return sha3.New512() },
	"blake2b512": unkeyed(blake2b.New512),
	"blake2s256": unkeyed(blake2s.New256),
}

// digestAliases are other names of OpenSSL for the same digests, without the prefix "rsa-".
var digestAliases = map[string]string{
	"":             DefaultAlgorithm,
	"rmd160":       "ripemd160",
	"ripemd":       "ripemd160",
	"ripemd-160":   "ripemd160",
	"sha-1":        "sha1",
	"sha-224":      "sha224",
	"sha-256":      "sha256",
	"sha-384":      "sha384",
	"sha-512":      "sha512",
	"sha2-224":     "sha224",
	"sha2-256":     "sha256",
	"sha2-384":     "sha384",
	"sha2-512":     "sha512",
	"sha-512/224":  "sha512-224",
	"sha2-512/224": "sha512-224",
	"sha-512/256":  "sha512-256",
	"sha2-512/256": "sha512-256",
	"blake2b-512":  "blake2b512",
	"blake2s-256":  "blake2s256",
}

func unkeyed(construct func(key []byte) (hash.Hash, error)) func() hash.Hash {
	return func() hash.Hash {
		h, err := construct(nil)
		if err != nil {
			panic("BUG: digest without a key: " + err.Error())
		}
		return h
	}
}

// Signer makes and checks the HMACs of channel ids. It keeps the state of its key, so that a check does not allocate, and
// therefore is not safe for concurrent use: each loop or goroutine has a Clone of its own.
//
// While a portal changes its key there are several: what is signed with any of them is right, and the first one signs.
type Signer struct {
	digest func() hash.Hash
	keys   [][]byte

	macs    []hash.Hash
	used    int    // the key of the last signature that was right
	message []byte // scratch
	sum     []byte // scratch
	digits  []byte // scratch
}

// NewSigner makes a Signer of a digest and keys, the newest first. The digest is named as OpenSSL does, in any case; "" is sha1. The error
// for an unknown name lists the known ones. There must be a key, and none may be empty.
func NewSigner(algo string, keys ...[]byte) (*Signer, error) {
	name := strings.TrimPrefix(strings.ToLower(algo), "rsa-")
	if canonical, ok := digestAliases[name]; ok {
		name = canonical
	}
	digest, ok := digests[name]
	if !ok {
		known := strings.Join(slices.Sorted(maps.Keys(digests)), ", ")
		return nil, fmt.Errorf("protocol: unknown signature algorithm %q, known are %s", algo, known)
	}
	if len(keys) == 0 || slices.ContainsFunc(keys, func(key []byte) bool { return len(key) == 0 }) {
		return nil, ErrEmptyKey
	}
	own := make([][]byte, len(keys))
	for i, key := range keys {
		own[i] = bytes.Clone(key)
	}
	return newSigner(digest, own), nil
}

func newSigner(digest func() hash.Hash, keys [][]byte) *Signer {
	macs := make([]hash.Hash, len(keys))
	for i, key := range keys {
		macs[i] = hmac.New(digest, key)
	}
	return &Signer{
		digest:  digest,
		keys:    keys,
		macs:    macs,
		message: make([]byte, 0, 2*idDigits+1),
		sum:     make([]byte, 0, macs[0].Size()),
		digits:  make([]byte, 0, hex.EncodedLen(macs[0].Size())),
	}
}

// Clone makes a Signer of the same digest and keys for another goroutine. It may be called from any goroutine.
func (s *Signer) Clone() *Signer { return newSigner(s.digest, s.keys) }

// Keys is the number of keys.
func (s *Signer) Keys() int { return len(s.keys) }

// Used is the key of the last signature that was right, counted from 0, which is the newest.
func (s *Signer) Used() int { return s.used }

// AppendSum appends the raw signature of message.
func (s *Signer) AppendSum(dst, message []byte) []byte { return s.appendSum(dst, message, 0) }

func (s *Signer) appendSum(dst, message []byte, key int) []byte {
	mac := s.macs[key]
	mac.Reset()
	mac.Write(message)
	return mac.Sum(dst)
}

// AppendHex appends the signature of message in lower-case hex.
func (s *Signer) AppendHex(dst, message []byte) []byte {
	s.sum = s.AppendSum(s.sum[:0], message)
	return hex.AppendEncode(dst, s.sum)
}

// ValidItem says whether signature, in lower-case hex, belongs to the item: to "priv", or to "priv:pub" if it has a public id.
func (s *Signer) ValidItem(it *Item, signature []byte) bool {
	s.message = it.appendText(s.message[:0])
	return s.ValidText(s.message, signature)
}

// ValidPublic says whether signature, the raw bytes, allows to publish to the public channel id.
func (s *Signer) ValidPublic(id, signature []byte) bool {
	s.message = appendPublicText(s.message[:0], id)
	return s.valid(s.message, signature)
}

// ValidText says whether signature, in lower-case hex, belongs to text.
func (s *Signer) ValidText(text, signature []byte) bool {
	for i := range s.macs {
		s.sum = s.appendSum(s.sum[:0], text, i)
		s.digits = hex.AppendEncode(s.digits[:0], s.sum)
		if subtle.ConstantTimeCompare(s.digits, signature) == 1 {
			s.used = i
			return true
		}
	}
	return false
}

// valid says whether signature, the raw bytes, belongs to message.
func (s *Signer) valid(message, signature []byte) bool {
	for i := range s.macs {
		s.sum = s.appendSum(s.sum[:0], message, i)
		if subtle.ConstantTimeCompare(s.sum, signature) == 1 {
			s.used = i
			return true
		}
	}
	return false
}

// SignItem is the item as its owner writes it into CHANNEL_ID: "priv[:pub].signature".
func (s *Signer) SignItem(it Item) string {
	text := it.appendText(nil)
	return string(text) + "." + string(s.AppendHex(nil, text))
}

// SignPublic is the raw signature that allows to publish to the public channel id.
func (s *Signer) SignPublic(id [16]byte) []byte {
	return s.AppendSum(nil, appendPublicText(nil, id[:]))
}

func (it *Item) appendText(dst []byte) []byte {
	dst = hex.AppendEncode(dst, it.Private[:])
	if it.HasPublic {
		dst = append(dst, ':')
		dst = hex.AppendEncode(dst, it.Public[:])
	}
	return dst
}

func appendPublicText(dst, id []byte) []byte {
	dst = append(dst, "public:"...)
	return hex.AppendEncode(dst, id)
}
