package main

import (
	"net/url"
	"strings"
	"testing"

	"push-server/configs"
	"push-server/protocol"
)

// inspected is what the command channel says about arg, with the key of configs/standalone.json.
func inspected(t *testing.T, arg string) (out string, err error) {
	t.Helper()
	out, log, err := execute(t, "channel", "--config", "../../configs/standalone.json", arg)
	if strings.Contains(out+log, "ac0b41487e6d3fe2108fce277cf1a05b8fccff38") {
		t.Errorf("%s: the right signature is printed", arg)
	}
	return out, err
}

// A subscriber's channel id is verified in every form in which people have it at hand.
func TestChannelVerifies(t *testing.T) {
	for _, arg := range []string{
		exampleSigned,
		" " + exampleSigned + "\n",
		url.QueryEscape(exampleSigned),
		"CHANNEL_ID=" + exampleSigned,
		"mid=1&CHANNEL_ID=" + url.QueryEscape(exampleSigned) + "&revision=19",
		"wss://portal.example/bitrix/subws/?CHANNEL_ID=" + exampleSigned + "&binaryMode=true",
		"/bitrix/subws/?CHANNEL_ID=" + exampleSigned + "?CHANNEL_ID=x",
	} {
		out, err := inspected(t, arg)
		want := "private id  " + exampleChannel + "\npublic id   fedcba9876543210fedcba9876543210\nsignature   right\n"
		if err != nil || out != want {
			t.Errorf("%q: %v\n%s", arg, err, out)
		}
	}
}

func TestChannelSaysWhatIsWrong(t *testing.T) {
	c, _, err := readConfiguration([]string{"../../configs/standalone.json"})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := newSigner(c)
	if err != nil {
		t.Fatal(err)
	}
	id, ok := protocol.ParseID([]byte(exampleChannel))
	if !ok {
		t.Fatal(exampleChannel)
	}
	both, _, _ := strings.Cut(exampleSigned, ".")
	_, ofPrivate, _ := strings.Cut(signer.SignItem(protocol.Item{Private: id}), ".")
	f := func(arg, want string) {
		t.Helper()
		if out, err := inspected(t, arg); exitCode(err) != exitFailure || !strings.Contains(out, want) || strings.Contains(err.Error(), "--help") {
			t.Errorf("%s: %v\n%s", arg, err, out)
		}
	}
	f(both, "signature   missing")
	f(both+"."+strings.Repeat("0", 40), "signature   signed with another key")
	f(both+"."+strings.Repeat("0", 64), "it has 64 digits, those made with security.algo of this configuration have 40")
	f(both+"."+ofPrivate, "that of the private id alone")
	f(strings.ToUpper(exampleSigned), "malformed   character 11: \"A\" in the private id: hex digits must be lower case")
	f(both[1:], "malformed   character 32: the private id has 31 digits")
	f("", "malformed")
	f("//", "channel id 3 of 3")
	f(exampleChannel+"."+ofPrivate+"/x", "signature   right\nchannel id 2 of 2\nmalformed   character 1: \"x\"")
}

func TestChannelNeedsAChannel(t *testing.T) {
	f := func(want int, text string, args ...string) {
		t.Helper()
		_, _, err := execute(t, append([]string{"channel", "--config", "../../configs/standalone.json"}, args...)...)
		if exitCode(err) != want || err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v: %v", args, err)
		}
	}
	f(exitFailure, "no parameter CHANNEL_ID", "http://127.0.0.1/")
	f(exitFailure, "no parameter CHANNEL_ID", "http://127.0.0.1/?mid=1")
	f(exitUsage, "unexpected argument", exampleSigned, exampleSigned)
}

// With several keys it is said which one a channel id is signed with.
func TestChannelSaysWhichKey(t *testing.T) {
	f := func(text string, keys ...string) {
		t.Helper()
		c := standalone(t)
		c["security"] = map[string]any{"key": keys}
		out, _, err := execute(t, append(append([]string{"channel"}, writeConfigs(t, c)...), exampleSigned)...)
		if err != nil || !strings.Contains(out, "signature   "+text+"\n") {
			t.Errorf("%v\n%s", err, out)
		}
	}
	f("right", configs.ExampleKey)
	f("right, signed with key 1 of 2", configs.ExampleKey, "another key, also long")
	f("right, signed with key 2 of 3, an older one", "another key, also long", configs.ExampleKey, "and one more, long as well")
}
