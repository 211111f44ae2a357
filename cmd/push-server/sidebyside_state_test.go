package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"push-server/protocol/testclient"
)

// Whoever is connected to one server is online for the other: marks of 130 seconds for the first channel of a connection.
func TestOnlineBesideNode(t *testing.T) {
	redis := startRedis(t)
	in := installBesideNode(t, redis, 1)
	node := startNode(t, redis, "n0desrv1")
	here, second, alone, away, polling := testclient.NewChannel(testKey), testclient.NewChannel(testKey), testclient.NewChannel(testKey),
		testclient.NewChannel(testKey), testclient.NewChannel(testKey)
	dialSubscriber(t, in.subs[0], testclient.Query(true, "", here.Signed(), second.Signed()))
	dialSubscriber(t, in.subs[0], testclient.Query(false, "", alone.Alone(), second.Signed()))
	listenByPoll(t, in.subs[0], polling)
	node.transaction([]string{"SETEX", onlineKey(away.PrivateReceiver()), "130", "1"}, []string{"SETEX", onlineKey(away.PublicReceiver()), "130", "1"})

	for _, ch := range []testclient.Channel{here, alone, away, polling} {
		waitOnline(t, in.installation, ch)
	}
	f := func(r testclient.Receiver, online bool) {
		t.Helper()
		value, err := node.do("GET", onlineKey(r)).ToString()
		if ttl := redis.Int("TTL", onlineKey(r)); online && (err != nil || value != "1" || ttl < 120 || ttl > 130) || !online && ttl != -2 {
			t.Errorf("online %v: value %q, TTL %d", online, value, ttl)
		}
	}
	f(here.PrivateReceiver(), true)
	f(here.PublicReceiver(), true)
	f(alone.PrivateReceiver(), true)
	f(polling.PrivateReceiver(), true)
	f(polling.PublicReceiver(), true)
	f(second.PrivateReceiver(), false)
	f(second.PublicReceiver(), false)
	reply, err := testclient.NewHTTP(false).Request(t.Context(), in.pubURL(),
		testclient.AppendChannelStats(nil, away.PrivateReceiver(), publicOf(away), second.PrivateReceiver(), publicOf(here)))
	want := channelStats(away.PrivateReceiver(), true, publicOf(away), true, second.PrivateReceiver(), false, publicOf(here), true)
	if err != nil || string(reply.Body) != string(want) {
		t.Errorf("%v\n got %x\nwant %x", err, reply.Body, want)
	}
}

func onlineKey(r testclient.Receiver) string {
	if r.Private {
		return "channel:online:" + string(r.ID)
	}
	return "pubchannel:online:" + string(r.ID)
}

// channelStats is Node's answer about pairs of a channel and whether it is online.
func channelStats(pairs ...any) []byte {
	var list []byte
	for pair := range slices.Chunk(pairs, 2) {
		r := pair[0].(testclient.Receiver)
		stats := appendNumber(appendBytes(nil, 1, string(r.ID)), 2, number(r.Private))
		list = appendBytes(list, 1, string(appendNumber(stats, 3, number(pair[1].(bool)))))
	}
	return nested(list, 2, 1)
}

// nodeRecord is the record of a Node process, as it was recorded but for its date.
func nodeRecord(id string, date int64) string {
	return fmt.Sprintf(`{"pid":4246,"date":%d,"processUniqueId":%s,"channels":0,"limits":{"maxPayload":1048576,"maxConnPerChannel":100,`+
		`"maxMessagesPerRequest":100,"maxChannelsPerRequest":100},"clusterMode":true,"websockets":0,"pollings":0,`+
		`"daily":{"requests":{"incomingMessages":2,"channelStats":1,"serverStats":1},"messages":{"unknown":8,"m_c":2}}}`, date, id)
}

// Both servers read each other's records of statistics, and both throw away what is old; ours also what is none, of which Node dies.
func TestStatisticsBesideNode(t *testing.T) {
	redis := startRedis(t)
	now := time.Now().UnixMilli()
	fresh, numbered := nodeRecord(`"pub-18113"`, now), nodeRecord("4711", now-40_000)
	useless := []string{
		"", "null", "5", "[]", "{}", "no JSON", nodeRecord(`"old"`, now-71_000), nodeRecord(`"cut"`, now)[:100], nodeRecord(`"more"`, now) + "}",
		`{"date":"tomorrow"}`, `{"date":null}`, `{"date":{}}`, `[` + nodeRecord(`"list"`, now) + `]`,
		fmt.Sprintf("{\"date\":%d,\"raw\":\"\n\"}", now), fmt.Sprintf(`{"date":%d,"a":01}`, now), fmt.Sprintf(`{"date":%d,"a":"\x"}`, now),
	}
	for i, record := range useless {
		redis.Do("HSET", "stats", strconv.Itoa(i), record)
	}
	redis.Do("HSET", "stats", "pub-18113", fresh, "4711", numbered)
	in := installBesideNode(t, redis, 1)
	socket := dialSubscriber(t, in.subs[0], testclient.Query(false, "", testclient.NewChannel(testKey).Signed()))
	defer socket.Close()

	all := statistics(t, in.installation)
	if string(all["pub-18113"]) != fresh || string(all["4711"]) != numbered || len(all) != 4 {
		t.Errorf("%d records: %v", len(all), all)
	}
	if n := redis.Int("HLEN", "stats"); n != 4 {
		t.Errorf("%d records are left in Redis", n)
	}
	for name, record := range all {
		checkRecord(t, name, record)
	}
}

// statistics are the records that the page shows, by process.
func statistics(t *testing.T, in *installation) map[string]json.RawMessage {
	t.Helper()
	page, err := readPage("http://" + in.pub + statPath)
	if err != nil {
		t.Fatal(err)
	}
	var records []json.RawMessage
	if err := json.Unmarshal([]byte(page), &records); err != nil {
		t.Fatalf("%v: %s", err, page)
	}
	all := map[string]json.RawMessage{}
	for _, r := range records {
		var named struct{ ProcessUniqueID any }
		if err := json.Unmarshal(r, &named); err != nil {
			t.Fatal(err)
		}
		all[fmt.Sprint(named.ProcessUniqueID)] = r
	}
	return all
}

// checkRecord wants every key that Node writes, in its order and with its type.
func checkRecord(t *testing.T, name string, record json.RawMessage) {
	t.Helper()
	id := strconv.Quote(name)
	if name == "4711" {
		id = name
	}
	if got, want := shape(t, string(record)), shape(t, nodeRecord(id, 1)); got != want {
		t.Errorf("%s:\n got %s\nwant %s", name, got, want)
	}
}

// counts are what the daily counters of a record hold: of them every process has its own.
var counts = regexp.MustCompile(`"(requests|messages)":\{[^}]*\}`)

// shape is a record with all numbers taken for the same, but for the limits.
func shape(t *testing.T, record string) string {
	t.Helper()
	_, limits, _ := strings.Cut(record, `"limits":`)
	limits, _, ok := strings.Cut(limits, "}")
	if !ok {
		t.Errorf("no limits in %s", record)
	}
	record = counts.ReplaceAllString(strings.Replace(record, limits, "", 1), `"$1":{}`)
	return regexp.MustCompile(`:[0-9]+`).ReplaceAllString(record, ":0") + limits
}
