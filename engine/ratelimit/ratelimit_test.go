package ratelimit

import (
	"cmp"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

var (
	start    = time.Unix(1_700_000_000, 0)
	somebody = netip.MustParseAddr("192.0.2.7")
)

// Those who come at once come again in the order in which they came, at the rate at which there is room, and all find it.
func TestCrowdIsSpread(t *testing.T) {
	t.Parallel()
	const perSecond, crowd = 100, 1000
	r := NewRate(perSecond)
	rounds, served := map[int]int{}, 0 // whoever is refused comes again in the second that he is told
	var last time.Duration
	for range crowd {
		ok, after := r.Take(somebody, start)
		if ok {
			served++
			continue
		}
		if after < last {
			t.Fatalf("told to come after %v, the one before after %v", after, last)
		}
		last = after
		rounds[int(math.Ceil(after.Seconds()))]++
	}
	if served != perSecond {
		t.Fatalf("%d are served at once, want %d", served, perSecond)
	}
	for second := 1; served < crowd; second++ {
		if second > crowd/perSecond {
			t.Fatalf("%d of %d are served after %d s", served, crowd, second)
		}
		for range rounds[second] {
			if ok, _ := r.Take(somebody, start.Add(time.Duration(second)*time.Second)); !ok {
				t.Fatalf("somebody who comes in second %d, as he was told, is refused", second)
			}
			served++
		}
	}
}

func TestNobodyWaitsForEver(t *testing.T) {
	t.Parallel()
	r := NewRate(1)
	for range 200 {
		if _, after := r.Take(somebody, start); after > longestQueue {
			t.Fatalf("told to come after %v", after)
		}
	}
	if ok, _ := r.Take(somebody, start.Add(time.Second)); !ok {
		t.Error("those who were refused take the place of those who come")
	}
}

func TestNoLimits(t *testing.T) {
	t.Parallel()
	if ok, _ := NewRate(0).Take(somebody, start); !ok {
		t.Error("refused without a rate")
	}
	a := NewAddresses(Limits{IPv6Prefix: 64})
	if a.Limits() {
		t.Fatal("addresses are counted without a limit")
	}
	p, v, _ := a.Enter(netip.MustParseAddr("192.0.2.1"), true, start)
	a.Leave(p, start)
	a.Undo(p, start)
	if v != Admitted || p.Taken() || a.Len() != 0 {
		t.Errorf("%v, %v", p, v)
	}
}

// expect enters with addr and wants a verdict.
func expect(t *testing.T, a *Addresses, addr string, now time.Time, want Verdict) Place {
	t.Helper()
	p, v, after := a.Enter(netip.MustParseAddr(addr), true, now)
	if v != want || (v == Admitted) != (after == 0) {
		t.Fatalf("%s is told %d and to come after %v, want %d", addr, v, after, want)
	}
	return p
}

func TestConnectionsOfAnAddress(t *testing.T) {
	t.Parallel()
	a := NewAddresses(Limits{Connections: 2, IPv6Prefix: 64, Exempt: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	first := expect(t, a, "192.0.2.1", start, Admitted)
	expect(t, a, "::ffff:192.0.2.1", start, Admitted)
	expect(t, a, "192.0.2.1", start, TooMany)
	expect(t, a, "192.0.2.2", start, Admitted)
	a.Leave(first, start)
	expect(t, a, "192.0.2.1", start, Admitted)
	expect(t, a, "192.0.2.1", start, TooMany)

	expect(t, a, "2001:db8::1", start, Admitted)
	expect(t, a, "2001:db8::2:0:0:1", start, Admitted)
	expect(t, a, "2001:db8:0:0:ffff::1", start, TooMany)
	expect(t, a, "2001:db8:0:1::1", start, Admitted)

	for range 10 {
		expect(t, a, "198.51.100.7", start, Admitted)
	}
}

func TestRateOfAnAddress(t *testing.T) {
	t.Parallel()
	a := NewAddresses(Limits{PerSecond: 2})
	for range 2 * burstSeconds {
		a.Leave(expect(t, a, "192.0.2.1", start, Admitted), start)
	}
	expect(t, a, "192.0.2.1", start, TooFast)
	expect(t, a, "192.0.2.2", start, Admitted)
	_, _, after := a.Enter(netip.MustParseAddr("192.0.2.1"), true, start)
	expect(t, a, "192.0.2.1", start.Add(after), Admitted)
	expect(t, a, "192.0.2.1", start.Add(after), TooFast)
	if _, v, _ := a.Enter(netip.MustParseAddr("192.0.2.1"), false, start.Add(after)); v != Admitted {
		t.Error("what goes on is counted as what comes")
	}
	p := expect(t, a, "192.0.2.1", start.Add(time.Minute), Admitted)
	for range 100 {
		a.Undo(p, start.Add(time.Minute))
		p = expect(t, a, "192.0.2.1", start.Add(time.Minute), Admitted)
	}
}

// An attacker has more networks of version 6 than anybody has memory.
func TestAddressesTakeBoundedMemory(t *testing.T) {
	t.Parallel()
	a := NewAddresses(Limits{Connections: 10, PerSecond: 1, IPv6Prefix: 64})
	var b [16]byte
	b[0] = 0x20
	for i := range uint32(4 * shards * maxIdle) {
		binary.BigEndian.PutUint32(b[4:], i)
		p, v, _ := a.Enter(netip.AddrFrom16(b), true, start)
		if v != Admitted {
			t.Fatalf("address %d is refused", i)
		}
		a.Leave(p, start)
	}
	if n := a.Len(); n > shards*maxIdle {
		t.Errorf("%d addresses are remembered", n)
	}
	held := expect(t, a, "192.0.2.1", start, Admitted)
	a.Forget(start.Add(time.Minute))
	if n := a.Len(); n != 1 {
		t.Errorf("%d addresses are remembered after a minute, want that of the connection", n)
	}
	a.Leave(held, start.Add(time.Minute))
	if n := a.Len(); n != 0 {
		t.Errorf("%d addresses are remembered without a connection", n)
	}
}

// Nothing is lost or counted twice when all come and go at once.
func TestAddressesOfManyGoroutines(t *testing.T) {
	t.Parallel()
	a := NewAddresses(Limits{Connections: 1000})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 2)})
			for range 2000 {
				p, _, _ := a.Enter(addr, true, start)
				a.Leave(p, start)
			}
		})
	}
	all.Wait()
	if n := a.Len(); n != 0 {
		t.Errorf("%d addresses are left", n)
	}
}

func TestEnterAllocatesNothing(t *testing.T) {
	a := NewAddresses(Limits{Connections: 10, PerSecond: 1000, IPv6Prefix: 64})
	addr := netip.MustParseAddr("2001:db8::1")
	a.Enter(addr, true, start)
	if n := testing.AllocsPerRun(100, func() {
		p, _, _ := a.Enter(addr, true, start)
		a.Leave(p, start)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEnter(b *testing.B) {
	a := NewAddresses(Limits{Connections: 1 << 30, PerSecond: 1 << 30, IPv6Prefix: 64})
	b.RunParallel(func(pb *testing.PB) {
		var ip [16]byte
		for i := uint32(0); pb.Next(); i++ {
			binary.BigEndian.PutUint32(ip[4:], i%4096)
			p, _, _ := a.Enter(netip.AddrFrom16(ip), true, start)
			a.Leave(p, start)
		}
	})
}

// Other limits hold for whoever comes next; who was let in under the limits before leaves as he came.
func TestLimitsChange(t *testing.T) {
	t.Parallel()
	a := NewAddresses(Limits{Connections: 2, IPv6Prefix: 64})
	first, second := expect(t, a, "2001:db8::1", start, Admitted), expect(t, a, "2001:db8::2", start, Admitted)
	expect(t, a, "2001:db8::3", start, TooMany)
	a.Change(Limits{Connections: 1, IPv6Prefix: 128})
	expect(t, a, "2001:db8::3", start, Admitted)
	expect(t, a, "2001:db8::3", start, TooMany)
	a.Change(Limits{})
	if p := expect(t, a, "2001:db8::3", start, Admitted); a.Limits() || p.Taken() {
		t.Error("there are limits")
	}
	a.Leave(first, start)
	a.Leave(second, start)
	if n := a.Len(); n != 1 {
		t.Errorf("%d addresses are remembered", n)
	}
	r := NewRate(0)
	for range 100 {
		if ok, _ := r.Take(somebody, start); !ok {
			t.Fatal("refused without a rate")
		}
	}
	r.Change(1)
	if ok, _ := r.Take(somebody, start.Add(time.Hour)); !ok {
		t.Error("the first one is refused")
	}
	if ok, after := r.Take(somebody, start.Add(time.Hour)); ok || after <= 0 {
		t.Error("there is no limit")
	}
	if r.Change(0); r.Limits() {
		t.Error("there is a limit")
	}
	if ok, _ := r.Take(somebody, start.Add(time.Hour)); !ok {
		t.Error("refused without a rate")
	}
}

// Another process goes on where one was: with what all may, with what an address may, and with those that are there.
func TestAnotherProcessGoesOn(t *testing.T) {
	t.Parallel()
	r, next := NewRate(10), NewRate(10)
	for range 15 {
		r.Take(somebody, start)
	}
	saved, queue, ok := r.Saved(start)
	if !ok || saved != 0 || queue != 500*time.Millisecond {
		t.Fatalf("%v are saved, the queue takes %v", saved, queue)
	}
	next.GoOn(start, saved, queue)
	if ok, after := next.Take(somebody, start); ok || after != 600*time.Millisecond {
		t.Errorf("%v after %v", ok, after)
	}
	for range 5 { // it is not known whose turns they are
		if ok, _ := next.Take(somebody, start.Add(queue)); !ok {
			t.Error("a turn that the other process has given is lost")
		}
	}
	if _, _, ok := NewRate(0).Saved(start); ok {
		t.Error("something is saved without a rate")
	}

	limits := Limits{Connections: 2, PerSecond: 1, IPv6Prefix: 64}
	a, b := NewAddresses(limits), NewAddresses(limits)
	var places []Place
	for range 2 {
		places = append(places, expect(t, a, "2001:db8::1", start, Admitted))
	}
	for range burstSeconds {
		a.Leave(expect(t, a, "192.0.2.1", start, Admitted), start)
	}
	a.Debts(start, func(addr netip.Addr, left time.Duration) { b.Owe(addr, left, start) })
	for i, p := range places {
		places[i] = b.Resume(p.Addr())
	}
	expect(t, b, "2001:db8::2", start, TooMany)
	expect(t, b, "192.0.2.1", start, TooFast)
	expect(t, b, "192.0.2.2", start, Admitted)
	b.Leave(places[0], start)
	expect(t, b, "2001:db8::2", start, Admitted)
	b.Leave(places[1], start)
	if b.Forget(start.Add(time.Minute)); b.Len() != 2 { // of those that are there
		t.Errorf("%d addresses are remembered", b.Len())
	}
	if p := NewAddresses(Limits{}).Resume(places[0].Addr()); p.Taken() {
		t.Error("a place is taken without limits")
	}
}

// In a simulation, where nobody is late: those who come while others have been told to come again are behind them, and a crowd of any
// size is served in the order in which it came, up to the whole seconds that people are told.
func TestNobodyIsOvertaken(t *testing.T) {
	t.Parallel()
	const rate, size, within = 200, 4000, 3 * time.Second
	type visit struct {
		client int
		at     time.Duration
	}
	var visits []visit // in order
	for i := range size {
		visits = append(visits, visit{i, time.Duration(i) * within / size})
	}
	r := NewRate(rate)
	served := 0
	for len(visits) > 0 {
		v := visits[0]
		visits = visits[1:]
		addr := netip.AddrFrom4([4]byte{10, 0, byte(v.client >> 8), byte(v.client)})
		ok, after := r.Take(addr, start.Add(v.at))
		if ok {
			if far := max(served-v.client, v.client-served); far > rate+rate/10 {
				t.Fatalf("client %d is served at place %d", v.client, served)
			}
			served++
			continue
		}
		again := visit{v.client, v.at + (after + time.Second - 1).Truncate(time.Second)}
		at, _ := slices.BinarySearchFunc(visits, again, func(a, b visit) int { return cmp.Compare(a.at, b.at) })
		visits = slices.Insert(visits, at, again)
	}
	if r.turns.count != 0 {
		t.Errorf("%d turns are left", r.turns.count)
	}
}

// Who was told to come again and does not takes nothing from those who come, and is forgotten.
func TestTurnsThatNobodyTakes(t *testing.T) {
	t.Parallel()
	const rate = 10
	r := NewRate(rate)
	for i := range 5 * rate {
		r.Take(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), start)
	}
	served, others := 0, 0
	for at := 3 * time.Second; at < 8*time.Second; at += time.Millisecond {
		others++
		if ok, _ := r.Take(netip.AddrFrom4([4]byte{10, 1, byte(others >> 8), byte(others)}), start.Add(at)); ok {
			served++
		}
	}
	if served < 4*rate {
		t.Errorf("%d are served in 5 s", served)
	}
	if n := len(r.turns.line); n > rate*int((longestQueue+grace)/time.Second) {
		t.Errorf("%d turns are remembered", n)
	}
	r.Take(somebody, start.Add(3*longestQueue))
	if r.turns.count != 0 || len(r.turns.line) != 0 || len(r.turns.byAddr) != 0 {
		t.Errorf("%d turns are remembered for ever", r.turns.count)
	}
}
