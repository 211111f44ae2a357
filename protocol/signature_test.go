package protocol

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestSignatures(t *testing.T) {
	f := func(algo, message, want string) {
		t.Helper()
		s, err := NewSigner(algo, []byte(exampleKey))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the state is used again
			if got := string(s.AppendHex(nil, []byte(message))); got != want {
				t.Fatalf("%s of %q is %s, want %s", algo, message, got, want)
			}
		}
	}
	f("sha1", privateA, signaturePrivateA)
	f("sha1", privateA+":"+publicA, signatureA)
	f("sha1", "public:"+publicA, "f5e67105807871681774d1607147b49ee4e66dc3")
	f("sha1", "public:"+publicB, signaturePublicB)
	f("sha1", `{"a":1}`, "c6fd3563b874bc50fda6fb53affaa99217e6201e")
	f("md5", privateA, "db4cd9e9022d253d44ddfde5c7cc6640")
	f("md5", privateA+":"+publicA, "d5d54b831fa8f92e76bc6c61379233d6")
	f("md5", "public:"+publicA, "862caeab4f5f2812e369034df9117703")
	f("md5", `{"a":1}`, "2455da3a4384816c2fb238177a2aef55")
	f("sha256", privateA, "0d8e49e057dd93975ac1dc395ae4f4ffb6000d9d9d44185c5c7475afca1200b4")
	f("sha256", privateA+":"+publicA, "6ea87a3d00a582e5cd010851ea6e2f784e7d7c32cedeaa38c6a7c95ccf3a4481")
	f("sha256", "public:"+publicA, "bca505e1ffd2e568b073ce52440f95f7b0fc3b026dad2f14fcfa30a840e4f571")

	// The other digests and names, as OpenSSL 3 computes them.
	f("", "x", "626bf2a0ae0d61eb0278f917f8c3771bd5032082")
	f("SHA1", "x", "626bf2a0ae0d61eb0278f917f8c3771bd5032082")
	f("Sha256", "x", "8f05500b1438dab2c6a342fe392023e10beafbaa16df99abb71cd8a08dca0cd6")
	f("SHA2-256", "x", "8f05500b1438dab2c6a342fe392023e10beafbaa16df99abb71cd8a08dca0cd6")
	f("RSA-SHA256", "x", "8f05500b1438dab2c6a342fe392023e10beafbaa16df99abb71cd8a08dca0cd6")
	f("sha224", "x", "c4e353f1cd260db3b93fa837c11bda10a6b5b9b82465c8db4bed07eb")
	f("sha512-224", "x", "573f526bae514ad5cb5c39a62b03f139b165be2f4ea74a260e632ea7")
	f("sha512-256", "x", "97de026338497ffd2db6fd4e6b2a77ea68ec270b11a0445953ee7eb99bffb226")
	f("SHA-512/256", "x", "97de026338497ffd2db6fd4e6b2a77ea68ec270b11a0445953ee7eb99bffb226")
	f("sha3-256", "x", "f3c9d7a64746cd5eb48443ac55580378454a5c07abbc438dc99a21c14bb83e0a")
	f("SHA3-512", "x", "41c6062c63cd5c6e39bef28f68f2be41c3d37569013b4e0adc4cf9f24987e8333424624e7f95d06c0c39cc45f133fd2b8f8c1bd6c1551ce4749a14349ed181c7")
	f("ripemd160", "x", "503897bb8d47a9927d025632b991fd5652463338")
	f("rmd160", "x", "503897bb8d47a9927d025632b991fd5652463338")
	f("blake2b512", "x", "8286c2ec849a43f25b4dd31c1bdccd8ef05a4aa0be07cafa6d83447f0a21facbca5530cce40e11c455fbb5fd1b27eb898ef10a5bccb03f0ca6fa157e44839a1b")
	f("blake2s256", "x", "2c4ff956aa1be7fe5b3430a557d4a52bfd4a5a4e0565996d621a4f9f836d8ba6")
}

// The key that a licence gets comes from the global one by the same HMAC.
func TestSignatureOfLicenceKey(t *testing.T) {
	s, err := NewSigner("sha256", []byte(strings.Repeat("0123456789abcdef", 4)))
	if err != nil {
		t.Fatal(err)
	}
	got := s.AppendHex(nil, []byte("push"+"aaaabbbbccccddddeeeeffff00001111"+"push.local"+"server"))
	if want := "913fca3737642739a1648e4b3efaaaf468a4f5efb4cc70b80129b63f5c357f3b"; string(got) != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

func TestNewSignerErrors(t *testing.T) {
	if _, err := NewSigner("sha1", nil); !errors.Is(err, ErrEmptyKey) {
		t.Fatalf("empty key: %v", err)
	}
	_, err := NewSigner("whirlpool", []byte(exampleKey))
	if err == nil || !strings.Contains(err.Error(), `"whirlpool"`) || !strings.Contains(err.Error(), "md5, ripemd160, sha1, ") {
		t.Fatalf("unknown digest: %v", err)
	}
	if strings.Contains(err.Error(), exampleKey) {
		t.Fatal("the error tells the key")
	}
}

// Every alias names a digest, and every digest fits into the grammar of a list of channels.
func TestDigests(t *testing.T) {
	for alias, name := range digestAliases {
		if digests[name] == nil {
			t.Errorf("%q stands for the unknown digest %q", alias, name)
		}
	}
	for name := range digests {
		s, err := NewSigner(name, []byte(exampleKey))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(s.AppendHex(nil, nil)); name != "sha224" && n < minSignatureDigits || n > maxSignatureDigits {
			t.Errorf("%s makes %d digits", name, n)
		}
	}
}

func TestValidItem(t *testing.T) {
	s := newTestSigner(t)
	pair := Item{Private: mustID(t, privateA), Public: mustID(t, publicA), HasPublic: true}
	alone := Item{Private: mustID(t, privateA)}
	f := func(it Item, signature string, want bool) {
		t.Helper()
		if got := s.ValidItem(&it, []byte(signature)); got != want {
			t.Fatalf("%s: got %v", signature, got)
		}
	}
	f(pair, signatureA, true)
	f(alone, signaturePrivateA, true)
	f(alone, signatureA, false)
	f(pair, signaturePrivateA, false)
	f(pair, strings.ToUpper(signatureA), false)
	f(pair, signatureA[:39], false)
	f(pair, signatureA+"0", false)
	f(pair, "", false)
}

func TestValidPublic(t *testing.T) {
	s := newTestSigner(t)
	id := mustID(t, publicB)
	f := func(id, signature []byte, want bool) {
		t.Helper()
		if got := s.ValidPublic(id, signature); got != want {
			t.Fatalf("%x of %x: got %v", signature, id, got)
		}
	}
	raw := unhex(t, signaturePublicB)
	f(id[:], raw, true)
	f(id[:], []byte(signaturePublicB), false)
	f(id[:], raw[:19], false)
	f(id[:], nil, false)
	f(id[:15], raw, false)
	f(nil, raw, false)
	long := bytes.Repeat([]byte{1}, 1000)
	f(long, s.AppendSum(nil, []byte("public:"+strings.Repeat("01", 1000))), true)
}

func TestSign(t *testing.T) {
	s := newTestSigner(t)
	pair := Item{Private: mustID(t, privateA), Public: mustID(t, publicA), HasPublic: true}
	if got, want := s.SignItem(pair), privateA+":"+publicA+"."+signatureA; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	if got, want := s.SignItem(Item{Private: pair.Private}), privateA+"."+signaturePrivateA; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	if got, want := s.SignPublic(mustID(t, publicB)), unhex(t, signaturePublicB); !bytes.Equal(got, want) {
		t.Fatalf("got %x, want %x", got, want)
	}
}

// A clone has the key of its own: it is used beside the original, and the caller's bytes may change.
func TestSignerClone(t *testing.T) {
	key := []byte(exampleKey)
	s, err := NewSigner("sha1", key)
	if err != nil {
		t.Fatal(err)
	}
	clear(key)
	clone := s.Clone()
	done := make(chan string)
	go func() {
		var last []byte
		for range 1000 {
			last = clone.AppendHex(last[:0], []byte(privateA))
		}
		done <- string(last)
	}()
	it := Item{Private: mustID(t, privateA)}
	for range 1000 {
		if !s.ValidItem(&it, []byte(signaturePrivateA)) {
			t.Fatal("the original has lost its key")
		}
	}
	if got := <-done; got != signaturePrivateA {
		t.Fatalf("the clone made %s", got)
	}
}

// While a portal changes its key, what is signed with the older one is right, too; what we sign, we sign with the newest.
func TestOlderKeys(t *testing.T) {
	s, err := NewSigner("sha1", []byte("the newest"), []byte(exampleKey))
	if err != nil {
		t.Fatal(err)
	}
	f := func(key string, used int, want bool) {
		t.Helper()
		signer, err := NewSigner("sha1", []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		item := Item{Private: mustID(t, privateA)}
		_, signature, _ := strings.Cut(signer.SignItem(item), ".")
		if got := s.ValidItem(&item, []byte(signature)); got != want || got && s.Used() != used {
			t.Errorf("a channel signed with %q: %v, key %d", key, got, s.Used())
		}
		if got := s.ValidPublic(item.Private[:], signer.SignPublic(item.Private)); got != want || got && s.Used() != used {
			t.Errorf("a right to publish signed with %q: %v, key %d", key, got, s.Used())
		}
		if got := s.Clone().SignItem(item) == signer.SignItem(item); got != (want && used == 0) {
			t.Errorf("signs as %q does: %v", key, got)
		}
	}
	f("the newest", 0, true)
	f(exampleKey, 1, true)
	f("the newest", 0, true)
	f("another one", 0, false)
	for _, keys := range [][][]byte{nil, {[]byte("one"), nil}} {
		if _, err := NewSigner("sha1", keys...); !errors.Is(err, ErrEmptyKey) {
			t.Errorf("%q: %v", keys, err)
		}
	}
}
