package poll

import (
	"net/http"
	"strings"
	"testing"
)

// Whoever stands in front and we must see the same path, or what is open to all there is a back end's here.
func TestPathsThatProxiesReadOtherwise(t *testing.T) {
	f := func(target string, plain bool) {
		t.Helper()
		if got := plainPath([]byte(target)); got != plain {
			t.Errorf("%s: %t", target, got)
		}
		r := Routes{Pub: "/bitrix/pub/"}
		if !strings.HasPrefix(target, r.Pub) {
			return
		}
		if refused := r.Match([]byte(http.MethodPost), []byte(target)) == ActionRefuse; refused == plain {
			t.Errorf("%s: refused %t", target, refused)
		}
	}
	f("/bitrix/pub/", true)
	f("/bitrix/pub/?CHANNEL_ID=a/../b&x=%2e%2e%2f", true)
	f("/bitrix/pub//x", true)
	f("/bitrix/pub/...", true)
	f("/bitrix/pub/.x/..y/z..", true)
	f("/a.b/%41%2e", true)
	f("/100%", true)
	f("/%zz/", true)
	f("http://host.example/bitrix/pub/", true)
	f("*", true)

	f("/bitrix/pub/../rest/", false)
	f("/bitrix/pub/..", false)
	f("/bitrix/pub/./", false)
	f("/bitrix/pub/.", false)
	f("/bitrix/pub/%2e%2e/rest/", false)
	f("/bitrix/pub/%2E./rest/", false)
	f("/bitrix/pub/..%2frest/", false)
	f("/bitrix/pub/x/../../rest/", false)
	f("/bitrix/pub/..;/rest/", false)
	f("/bitrix/pub/..\\rest/", false)
	f("/bitrix/pub/..%5Crest/", false)
	f("/bitrix/pub/%00", false)
	f("/bitrix/pub/%252e%252e/rest/", false)
	f("/bitrix/pub/..%25252frest/", false)
	f("/bitrix/pub/..?x", false)
	f("/bitrix/pub/..#x", false)
}

func TestRoutesSeeNoOtherPath(t *testing.T) {
	r := Routes{Pub: "/bitrix/pub/", Sub: "/bitrix/subws/", Rest: "/bitrix/rest/"}
	if a := r.Match([]byte(http.MethodPost), []byte("/bitrix/rest/../pub/")); a != ActionRefuse {
		t.Errorf("action %d", a)
	}
	if a := r.Match([]byte(http.MethodGet), []byte("/bitrix/./subws/")); a != ActionNotFound { // as Node
		t.Errorf("action %d", a)
	}
}
