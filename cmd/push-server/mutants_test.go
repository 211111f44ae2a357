package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A mutant is a rule taken out of the source. A test of the promise that rests on it has to notice.
type mutant struct {
	promise             int
	file, rule, without string
	pkg, test           string
}

// modelMutants are noticed within a few hundred schedules of the model.
var modelMutants = []mutant{
	{7, "engine/feed/replay.go", "return r.echo >= q.echo", "return true", "./engine/feed", "TestModel"},
	{12, "engine/feed/holes.go", "if len(h.open) == 0 {\n\t\treturn highest", "if true {\n\t\treturn highest", "./engine/feed", "TestModel"},
	{16, "engine/feed/feed.go", "f.repair.hold(p, f.o.HeldBytes)", "_ = p", "./engine/feed", "TestModel"},
	{7, "engine/feed/lag.go", "if g.since.Compare(r.accounted) < 0 {", "if false {", "./engine/feed", "TestModel"},
	{16, "engine/feed/reader.go", "return !r.blind && !r.lag.behind", "return !r.lag.behind", "./engine/feed", "TestModel"},
	{15, "engine/feed/replay.go", "r.readWindow(q, channels) // what", "r.found = r.found[:0] // what", "./engine/feed", "TestModel"},
}

var mutants = []mutant{
	{1, "engine/publishing.go", "la.askers = append(la.askers, a)", "a.tell(nil); la.askers = append(la.askers, a)", "./cmd/push-server", "TestRedisLost"},
	{2, "engine/publishing.go", "n, err := q.bus.Publish(ctx, batch)", "n, err := q.bus.Publish(ctx, batch); if err != nil { n = len(batch) }",
		"./cmd/push-server", "TestRedisLost"},
	{3, "engine/publishing.go", "if a.answer == nil || a.begun {", "if a.answer == nil {", "./engine", "TestRefusedWhole"},
	{3, "redisbus/scripts/publish.lua", "unkept[#unkept + 1] = i - 4", "_ = i", "./redisbus", "TestWrongTypes"},
	{3, "redisbus/scripts/publish.lua", "return answer(0, foreign())", "return 0", "./redisbus", "TestLostAnswerOfAWrongType"},
	{4, "engine/publishing.go", "la.overdue.Reset(la.patience)", "la.overdue.Reset(60 * la.patience)", "./cmd/push-server", "TestRedisHangs"},
	{5, "redisbus/scripts/publish.lua", "if sequence <= last then", "if false then", "./redisbus", "TestLostAnswerInTheMiddle"},
	{6, "engine/publishing.go", "la.ps = append(la.ps, ps...)", "la.ps = slices.Concat(la.ps[:la.underWay], ps, la.ps[la.underWay:])", "./engine", "TestOrderOverFailures"},
	{8, "redisbus/scripts/publish.lua", "if ARGV[8] ~= '0' then", "if true then", "./redisbus", "TestContract"},
	{9, "engine/feed/replay.go", "limit = r.feed.o.HistoryPerChannel", "limit = 1",
		"./cmd/push-server", "TestConversations/redis/history"},
	{10, "engine/subscribe.go", "\tl.collect()", "\t_ = l", "./cmd/push-server", "TestNewcomers"},
	{11, "engine/websocket.go", "e := l.sub.Parse(&l.head, l.signer, l.tokens)\n\ts.speak", "e := l.sub.Parse(&l.head, l.signer, l.tokens); e = nil\n\ts.speak", "./engine", "TestWrongChannelIsRefusedAfterTheHandshake"},
	{12, "engine/feed/feed.go", "\tif p.Stray {", "\tif p.ID.Compare(f.highest) < 0 { return }\n\tif p.Stray {", "./engine", "TestLateIDsReachLiveSessions"},
	{13, "engine/publishing.go", "n, err := q.bus.Publish(ctx, batch)", "n, err := q.bus.Publish(ctx, batch); if err != nil { n = len(batch) }",
		"./cmd/push-server", "TestFaults/out_of_memory"},
	{14, "redisbus/scripts/publish.lua", "if startdate < knownStartdate or (", "if false and (", "./redisbus", "TestFlushBetweenTwoPublications"},
	{15, "redisbus/follow.go", "b.known.raise(unheard)", "_ = unheard", "./redisbus", "TestAnotherServerHandsOutNoOldIDs"},
	{15, "redisbus/follow.go", "\t\tb.drop(s.name)", "\t\t_ = s", "./redisbus", "TestAddressMoves"},
	{16, "engine/feed/feed.go", `f.startRepair("bus connection was lost")`, "_ = 0", "./cmd/push-server", "TestFaults/subscriptions_killed"},
	{17, "redisbus/rights.go", "if !isForbidden(err) {", "if true {", "./redisbus", "TestRightsAreLookedAt/-zadd"},
	{18, "engine/feed/history.go", "entries[i] = append(entries[i], e)", "_ = e", "./cmd/push-server", "TestFaults/server_killed"},
	{19, "engine/drain.go", "\te.flush(serving)", "\t_ = serving", "./engine", "TestDrainStoresFirst"},
	{19, "engine/drain.go", "if told == n {", "if false {", "./engine", "TestDrainHasAPace"},
	{19, "engine/drain.go", "e.leaving.Store(true)", "_ = e", "./engine", "TestAnnouncedDrain"},
	{31, "poll/handlers.go", "&& !c.mayUse(c.PubAllow) {", "&& false {", "./poll", "TestPubAllow"},
	{31, "engine/websocket.go", "if !l.settings.Origins.Allow(l.head.List(\"Origin\")) {", "if false {", "./engine", "TestOriginsOfPages"},
	{32, "cmd/push-server/console.go", "signal.Ignore(syscall.SIGPIPE)", "_, _ = signal.Ignore, syscall.SIGPIPE",
		"./cmd/push-server", "TestServesWithoutReaders/reader_has_ended"},
	{20, "engine/output.go", "if buffered+len(b) > int(s.slack)+l.settings.MaxBuffered {", "if false {", "./engine", "TestSlowReaderIsClosed"},
	{15, "redisbus/cluster.go", `if s.moved == "" {`, "if true {", "./redisbus", "TestSlotMoves"},
	{15, "redisbus/cluster.go", "c.learn(best.server)", "_ = maxPeers", "./redisbus", "TestClusterFailover/killed"},
	{21, "engine/loop.go", "if l.intricate {\n\t\t\tpanic(r)", "if true {\n\t\t\tpanic(r)", "./engine", "TestPanicEndsOneConnection"},
	{22, "engine/engine.go", "return e.undelivered()", "return nil", "./engine", "TestLoopThatDoesNotTurn"},
	{27, "protocol/signature.go", "s.digits = hex.AppendEncode(s.digits[:0], s.sum)", "if i > 0 { return false }; s.digits = hex.AppendEncode(s.digits[:0], s.sum)",
		"./engine", "TestConnectionsByKey"},
	{22, "engine/feed/probe.go", "bus.Reconnect()", "_ = bus", "./engine", "TestDeafBusIsConnectedAnew"},
	{23, "engine/http.go", "s.skip = uint32(l.head.ContentLength)", "s.skip = 0", "./engine", "TestRequestsAreReadAsByNginx"},
	{23, "poll/gate.go", "if h.hasLength || h.body == chunked || h.http10", "if h.body == chunked || h.http10", "./poll", "TestRequestsAreReadAsByGo"},
	{24, "protocol/frame.go", "a.opCode == ws.OpText && !a.text.scan(part)", "false", "./protocol", "TestRFC6455"},
	{24, "engine/websocket.go", "ws.OpPong, payload)", "ws.OpPong, nil)", "./engine", "TestRFC6455"},
	{25, "engine/ops/access.go", "case g.readOnly && !reads(r):", "case false:", "./cmd/push-server", "TestTesterOfAReadOnlyWindow"},
	{25, "cmd/push-server/internal/tester/channel.go", "\tc := t.find(ask.ID)", "\tc := &channel{private: ask.ID}", "./cmd/push-server", "TestTesterKnowsItsOwnChannelsOnly"},
	{26, "configs/effective.go", "case o.secret() && o.key != \"storage.socket\":", "case false:", "./cmd/push-server", "TestWindowKeepsSecrets"},
	{26, "engine/connections.go", "c.Channels = append(c.Channels, view.Hash(&ch))", "c.Channels = append(c.Channels, string(ch.AppendHex(nil)))", "./cmd/push-server", "TestOperatorsSeeNoSecrets"},
	{29, "cmd/push-server/reload.go", "if faults > 0 {", "if false {", "./cmd/push-server", "TestBadConfigurationIsRefusedWhole"},
	{29, "engine/options.go", "l.settings, l.signer = s, s.signer.Clone()", "if l.settings = s; was == nil { l.signer = s.signer.Clone() }", "./engine", "TestKeysChange"},
	{28, "engine/ops/access.go", "return subtle.ConstantTimeCompare(a[:], b[:]) == 1", "return true || subtle.ConstantTimeCompare(a[:], b[:]) == 1", "./engine/ops", "TestTokenIsAskedFor"},
	{30, "engine/roster/roster.go", "u.until = until", "_ = until", "./engine/roster", "TestPagesChange"},
	{30, "redisbus/users.go", "rueidis.ScanEntry\n", "rueidis.ScanEntry; break\n", "./redisbus", "TestUsersOfDeadProcesses"},
	{28, "engine/ops/access.go", "case g.origins.Check(r) != nil:", "case false:", "./engine/ops", "TestWritingIsGuarded"},
	{33, "engine/ratelimit/rate.go", "after = r.turns.wait(now) + every", "after = every", "./engine/ratelimit", "TestCrowdIsSpread"},
	{33, "engine/ratelimit/rate.go", "if burst *= patience; !isDue {", "if burst *= patience; false {", "./engine/ratelimit", "TestNobodyIsOvertaken"},
	{33, "engine/admission.go", "if ok, after := a.rate.Take(addr, now); !ok {", "if ok, after := a.rate.Take(addr, now); false && !ok {", "./engine", "TestConnectRate"},
	{33, "engine/tls.go", "refusing: make(chan struct{}, refusalsAtOnce)", "refusing: make(chan struct{}, 1000)", "./engine", "TestRefusalsOverTLSAreBounded"},
	{34, "poll/realip/realip.go", "for p.Trusts(client) && len(list) > 0 {", "for len(list) > 0 {", "./engine", "TestConnectionsOfAnAddressBehindProxies"},
	{34, "engine/connections.go", "if !ok || !proxies.Trusts(peer) {", "if !ok {", "./engine", "TestForwardedAddressesOfStrangers"},
	{34, "engine/ratelimit/addresses.go", "\t\tif s.idle++; s.idle > maxIdle {", "\t\tif s.idle++; false {", "./engine/ratelimit", "TestAddressesTakeBoundedMemory"},
	{35, "engine/admission.go", "return ln.ProxyProtocol && a.trusts(from)", "return ln.ProxyProtocol", "./engine", "TestProxyProtocolOfStrangers"},
	{35, "engine/accept.go", "l.rememberPeer(s, poll.AddressText(net.TCPAddrFromAddrPort", "_ = (poll.AddressText(net.TCPAddrFromAddrPort", "./engine", "TestProxyProtocol"},
	{36, "engine/publishing.go", "kind == clients && q.clientsWait() ||", "", "./engine", "TestBackEndsHavePriority"},
	{37, "engine/ratelimit/rate.go", "now.Add(after))\n\treturn false, after", "now.Add(after))\n\treturn false, time.Hour", "./engine", "TestCrowdComesBack"},
	{38, "engine/feed/takeover.go", "return had", "return had && false", "./engine", "TestRelay"},
	{38, "engine/takeover.go", "t.listeners[w.Listener], t.keys[w.Key]", "t.listeners[w.Listener], w.Key", "./engine", "TestKeysPassOver"},
	{38, "engine/takeover.go", "\ts.input = w.Input", "\t_ = w.Input", "./engine", "TestCutRequestsPassOver"},
	{38, "engine/departure.go", "Assembly: s.assembly.State(),", "", "./engine", "TestCutFramesPassOver"},
	{38, "engine/departure.go", "Output: unsent(s.conn),", "", "./engine", "TestHalfAReplyPassesOver"},
	{38, "engine/takeover.go", "l.unfinished = append(l.unfinished, s.ref())", "_ = s", "./engine", "TestReplayWithoutItsEchoPassesOver"},
	{38, "engine/departure.go", "r.Replay.Pending = append(r.Replay.Pending,", "_ = append(r.Replay.Pending,", "./engine", "TestReplayWithoutItsEchoPassesOver"},
	{38, "engine/takeover.go", "if a.timer != timerNone {", "if false {", "./engine", "TestUnansweredFramesPassOver"},
	{38, "engine/limits.go", "e.Counters.GoOn(day)", "_ = w.Day", "./engine", "TestCountsPassOver"},
	{38, "engine/stats.go", "e.before.Store(&before)", "_ = before", "./engine", "TestCountsPassOver"},
	{38, "engine/limits.go", "ratelimit.Spend(l.rateOf(s), time.Now(), *w.Saved)", "_ = ratelimit.Spend", "./engine", "TestLimitsPassOver"},
	{38, "engine/limits.go", "w.Place = &handover.Place{", "_ = &handover.Place{", "./engine", "TestLimitsPassOver"},
	{38, "engine/limits.go", "e.admission.addresses.Owe(addr, left, now)", "_ = now", "./engine", "TestRatesPassOver"},
	{38, "cmd/push-server/predecessor.go", "any more\n\t\tdeparture.Cancel()\n", "any more\n", "./cmd/push-server", "TestSuccessorDies"},
	{38, "engine/membus/copy.go", "in && l.entries[at] == e {", "in && l.entries[at] == e || true {", "./engine/membus", "TestHistoryPassesOnAsItIs"},
	{38, "engine/membus/succession.go", "\to.bus.thaw()", "\t_ = o", "./engine/membus", "TestCopyComesToNothing"},
	{38, "cmd/push-server/succession.go", "if h.apart {\n\t\treturn err\n\t}\n\treturn unlessGone(err)", "return err",
		"./cmd/push-server", "TestPredecessorDiesLate"},
	{38, "engine/departure.go", "if l.stats.turns.Load() == l.acceptor.leftIn+1 {", "if false {", "./engine", "TestLoopStandsStillATurnAfterItHasLookedAway"},
	{39, "engine/turn.go", "last.next, ahead = n, last.ahead", "ahead = last.ahead", "./engine", "TestFanOutIsCutAnywhere"},
	{39, "engine/turn.go", "if k == queueFew && !ahead {", "if false {", "./engine", "TestOthersAreServedBetweenTwoWritesOfABroadcast"},
	{30, "engine/roster/roster.go", "u.doubtful, u.entered = true, false", "u.entered = false", "./engine/roster", "TestLostAnswers"},
	{40, "engine/jsonrpc.go", "l.engine.untilExpiry(s) < -l.o.V5.ExpiryGrace", "false", "./engine", "TestExpiredConnection"},
	{40, "engine/jsonrpc.go", "uint16(t.Sub(e.created) / expiryTick)", "uint16(min(t.Sub(e.created)/expiryTick, 1<<16-1))", "./engine", "TestExpiryInAnOldProcess"},
	{41, "protocol/token.go", "dst = append(dst, Item{Private: UserChannel(t.User).Bytes})", "_ = t.User", "./cmd/push-server", "TestUserListAndChannelList"},
	{41, "engine/transport.go", "if f, ok := d.own(s, e.Publication); ok {", "if f, ok := d.own(s, e.Publication); false && ok {", "./engine", "TestOwnParams"},
	{42, "engine/connections.go", "u.Unacknowledged += uint64(l.outstanding(s))", "_ = u", "./engine", "TestUsers"},
	{42, "engine/receipt/receipt.go", "counts = r.Count < sent; counts", "counts = true; counts", "./engine/receipt", "TestBook"},
}

// inMutant is set for the tests of a mutant.
const inMutant = "PUSH_TEST_IN_MUTANT"

// TestModelMutants runs the model without one rule at a time. It is a test of the model: one that cannot fail is worth nothing.
func TestModelMutants(t *testing.T) { testMutants(t, modelMutants, "-schedules", "300") }

// TestMutants does the same with the other promises, which takes minutes.
func TestMutants(t *testing.T) {
	if os.Getenv("PUSH_TEST_MUTANTS") == "" {
		t.Skip("make mutants runs it")
	}
	testMutants(t, mutants)
}

func testMutants(t *testing.T, all []mutant, args ...string) {
	if os.Getenv(inMutant) != "" {
		return
	}
	for _, m := range all {
		t.Run(fmt.Sprintf("%d %s %s", m.promise, filepath.Base(m.file), m.test), func(t *testing.T) {
			t.Parallel()
			out, err := m.run(t, args)
			name, _, _ := strings.Cut(m.test, "/")
			if err == nil || !strings.Contains(out, "--- FAIL: "+name) && !strings.Contains(out, "panic: ") {
				t.Errorf("with %q instead of %q in %s the test does not fail: %v\n%s", m.without, m.rule, m.file, err, out)
			}
		})
	}
}

// TestMutantsHaveTheirRules: what a mutant leaves out is in the source.
func TestMutantsHaveTheirRules(t *testing.T) {
	for _, m := range slices.Concat(modelMutants, mutants) {
		m.source(t)
	}
}

// source reads the file that has the rule.
func (m *mutant) source(t *testing.T) (name, text string) {
	t.Helper()
	name, err := filepath.Abs(filepath.Join("../..", m.file))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(source), m.rule) != 1 {
		t.Fatalf("%s does not have the rule %q once", m.file, m.rule)
	}
	return name, string(source)
}

// run runs the test over the mutated source.
func (m *mutant) run(t *testing.T, args []string) (out string, err error) {
	t.Helper()
	original, source := m.source(t)
	dir := t.TempDir()
	mutated, overlay := filepath.Join(dir, filepath.Base(m.file)), filepath.Join(dir, "overlay.json")
	replaced, err := json.Marshal(map[string]any{"Replace": map[string]string{original: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{mutated: []byte(strings.Replace(source, m.rule, m.without, 1)), overlay: replaced} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pattern := "^" + strings.ReplaceAll(m.test, "/", "$/^") + "$"
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"test", "-vet=off", "-overlay", overlay, "-run", pattern, m.pkg}, args...)...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), inMutant+"=1", "PUSH_TEST_FAULTS=short")
	b, err := cmd.CombinedOutput()
	return string(b), err
}
