package poll

import (
	"errors"
	"testing"
)

func TestMatch(t *testing.T) {
	routes := Routes{Pub: "/bitrix/pub/", Sub: "/bitrix/sub", Rest: "/bitrix/rest/", Stat: "/server-stat/"}
	f := func(method, target string, want Action) {
		t.Helper()
		if got := routes.Match([]byte(method), []byte(target)); got != want {
			t.Errorf("%s %s: %d, want %d", method, target, got, want)
		}
	}
	f("POST", "/bitrix/pub/", ActionPublish)
	f("POST", "/bitrix/pub/?CHANNEL_ID=x", ActionPublish)
	f("POST", "/bitrix/pub/anything?x", ActionPublish)
	f("GET", "/bitrix/pub/", ActionOnline)
	f("GET", "/bitrix/sub?x", ActionPoll)
	f("GET", "/bitrix/subws/", ActionPoll)
	f("OPTIONS", "/bitrix/sub", ActionOptions)
	f("POST", "/bitrix/rest/", ActionRest)
	f("GET", "/server-stat/abc", ActionStat)

	f("OPTIONS", "/bitrix/pub/", ActionNotFound)
	f("OPTIONS", "/bitrix/rest/", ActionNotFound)
	f("OPTIONS", "*", ActionNotFound)
	f("POST", "/bitrix/sub", ActionNotFound)
	f("GET", "/bitrix/rest/", ActionNotFound)
	f("POST", "/server-stat/", ActionNotFound)
	f("HEAD", "/bitrix/sub", ActionNotFound)
	f("HEAD", "/server-stat/", ActionNotFound)
	f("DELETE", "/bitrix/pub/", ActionNotFound)
	f("PUT", "/bitrix/pub/", ActionNotFound)
	f("GET", "/bitrix/pub", ActionNotFound)
	f("GET", "//bitrix/pub/", ActionNotFound)
	f("GET", "/bitrix//pub/", ActionNotFound)
	f("GET", "/bitrix/./pub/", ActionNotFound)
	f("GET", "/bitrix/p%75b/", ActionNotFound)
	f("GET", "/Bitrix/Pub/", ActionNotFound)
	f("GET", "http://host/bitrix/pub/", ActionNotFound)
	f("GET", "/favicon.ico?x=/bitrix/sub", ActionNotFound)
	f("GET", "", ActionNotFound)

	routes = Routes{Pub: "/a/", Rest: "/a/b/"}
	f("POST", "/a/b/", ActionPublish)
	f("GET", "/bitrix/sub", ActionNotFound)
	f("OPTIONS", "/", ActionNotFound)
}

func TestValidateRoutes(t *testing.T) {
	f := func(routes Routes, good bool) {
		t.Helper()
		if err := routes.Validate(); good != (err == nil) || err != nil && !errors.Is(err, ErrSamePath) {
			t.Errorf("%+v: %v", routes, err)
		}
	}
	f(Routes{}, true)
	f(Routes{Pub: "/p/", Sub: "/s/", Rest: "/r/", Stat: "/t/"}, true)
	f(Routes{Pub: "/x/", Rest: "/x/"}, false)
	f(Routes{Pub: "/x/", Sub: "/x/"}, false)
	f(Routes{Pub: "/x/", Stat: "/x/"}, false)
	f(Routes{Sub: "/x/", Stat: "/x/"}, false)
	f(Routes{Sub: "/x/", Rest: "/x/"}, true) // GET and POST
	f(Routes{Rest: "/x/", Stat: "/x/"}, true)
}
