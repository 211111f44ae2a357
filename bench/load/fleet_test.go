package load

import (
	"context"
	"os"
	"runtime"
	"testing"
	"time"

	"push-server/bench/fakepush"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// quiet is how long nothing must come before a message counts as lost.
const quiet = 200 * time.Millisecond

type trial struct {
	*testing.T
	ctx    context.Context
	server *fakepush.Server
	fleet  *Fleet
}

// try starts a fake, and a fleet that follows plan. The target of the plan is filled in.
func try(t *testing.T, plan Plan, o FleetOptions, faults func(int) fakepush.Fault) *trial {
	t.Helper()
	server, err := fakepush.Start(faults)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	plan.Target.Dialect = "push"
	plan.Target.Subscribe = []string{server.Addr()}
	plan.Target.Publish = []string{server.Addr()}
	plan.Target.SubPath, plan.Target.PubPath, plan.Target.Key = "/sub/", "/pub/", "key"
	plan.Payload = 200
	o.Command = []string{os.Args[0]}
	o.Env = []string{workerEnv + "=1"}
	o.Log = os.Stderr
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	fleet, err := StartFleet(ctx, &plan, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fleet.Close)
	return &trial{t, ctx, server, fleet}
}

func (t *trial) must(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (t *trial) connect(group string, want int) {
	t.Helper()
	d, err := t.fleet.Connect(t.ctx, Connect{Group: group, Limit: 16})
	t.must(err)
	if d.Opened != want || d.Failed != 0 || d.Latency.Count() != int64(want) {
		t.Fatalf("connected: %+v, want %d", d, want)
	}
	for group != "floor" && !t.server.Joined(want) {
		t.must(t.ctx.Err())
		runtime.Gosched()
	}
}

func (t *trial) publish(c Campaign) *Published {
	t.Helper()
	p, err := t.fleet.Publish(t.ctx, c)
	t.must(err)
	return p
}

// check waits for everything to arrive and compares what the subscribers noticed.
func (t *trial) check(want Integrity) *Stats {
	t.Helper()
	lost, err := t.fleet.Settle(t.ctx, quiet)
	t.must(err)
	s, err := t.fleet.Stats(t.ctx, false)
	t.must(err)
	s.Integrity.Lost = lost
	if s.Integrity != want {
		t.Errorf("%+v, want %+v; troubles %v", s.Integrity, want, s.Troubles)
	}
	return s
}

func sockets(n int) Plan {
	return Plan{Users: n, Shared: 1, Groups: []Group{{Name: "all", Count: n, Own: true, Public: true, Shared: []int{0}}}}
}

func polls(n int) Plan {
	p := sockets(n)
	p.Groups[0].Poll = true
	return p
}

func in(f Format, p Plan) Plan {
	p.Target.Format, p.Target.Acknowledge = f, true
	return p
}

func TestEverythingArrives(t *testing.T) {
	f := func(name string, plan Plan, o FleetOptions) {
		t.Run(name, func(t *testing.T) {
			r := try(t, plan, o, nil)
			r.connect("all", 20)
			p := r.publish(Campaign{Streams: 20, Connections: 4, Count: 100, Await: true})
			if p.Sent != 100 || p.Stored != 100 || p.Stalled != 0 || p.Answer.Count() != 100 {
				t.Errorf("%+v", p)
			}
			r.publish(Campaign{First: plan.SharedStream(0), Streams: 1, Connections: 1, Count: 5, Await: true})
			r.publish(Campaign{Streams: 20, Connections: 4, Rate: 1000, Count: 40})
			s := r.check(Integrity{Deliveries: 100 + 5*20 + 40})
			if len(s.Troubles) > 0 || s.Delivery.Count() != 140 || s.Broadcast.Count() != 100 {
				t.Errorf("%v, %d deliveries timed", s.Troubles, s.Delivery.Count())
			}
		})
	}
	f("websocket", sockets(20), FleetOptions{})
	f("websocket text", in(Text, sockets(20)), FleetOptions{})
	f("poll", polls(20), FleetOptions{})
	f("poll text", in(Text, polls(20)), FleetOptions{})
	f("three processes", sockets(20), FleetOptions{PerWorker: 7})
	f("given source", sockets(20), FleetOptions{Sources: []string{"127.9.9.9"}})
}

func TestBatchesArriveInOrder(t *testing.T) {
	r := try(t, sockets(5), FleetOptions{}, nil)
	r.connect("all", 5)
	p := r.publish(Campaign{Streams: 5, Connections: 2, Count: 10, Batch: 8, Await: true})
	if p.Sent != 80 || p.Stored != 10 {
		t.Errorf("%+v", p)
	}
	r.check(Integrity{Deliveries: 80})
}

func TestClientsPublish(t *testing.T) {
	plan := sockets(6)
	r := try(t, plan, FleetOptions{}, nil)
	r.connect("all", 6)
	r.publish(Campaign{First: plan.ClientStream(0), Streams: 6, Connections: 3, Rate: 1000, Count: 30, Speakers: "all"})
	r.check(Integrity{Deliveries: 30})
}

func TestChatsArriveAtTheirMembers(t *testing.T) {
	plan := sockets(20)
	plan.Chats, plan.ChatSize = 6, 5
	r := try(t, plan, FleetOptions{PerWorker: 10}, nil)
	r.connect("all", 20)
	r.publish(Campaign{First: plan.ChatStream(0), Streams: 6, Connections: 2, Count: 30, Await: true})
	r.check(Integrity{Deliveries: 30 * 5})
}

func TestFaultsAreNoticed(t *testing.T) {
	at := func(fault fakepush.Fault) func(int) fakepush.Fault {
		return func(n int) fakepush.Fault {
			if n == 7 {
				return fault
			}
			return fakepush.None
		}
	}
	f := func(name string, fault fakepush.Fault, want Integrity) {
		t.Run(name, func(t *testing.T) {
			r := try(t, sockets(1), FleetOptions{}, at(fault))
			r.connect("all", 1)
			r.publish(Campaign{Streams: 1, Connections: 1, Count: 20})
			r.check(want)
		})
	}
	f("lost", fakepush.Lose, Integrity{Deliveries: 19, Lost: 1})
	f("doubled", fakepush.Double, Integrity{Deliveries: 21, Doubled: 1})
	f("reordered", fakepush.Swap, Integrity{Deliveries: 20, Reordered: 1})
	f("damaged", fakepush.Damage, Integrity{Deliveries: 19, Damaged: 1, Lost: 1})
}

func TestLostConnectionIsTrouble(t *testing.T) {
	r := try(t, sockets(1), FleetOptions{}, func(n int) fakepush.Fault { return fakepush.Hang })
	r.connect("all", 1)
	r.publish(Campaign{Streams: 1, Connections: 1, Count: 1})
	for r.fleet.Totals().Trouble == 0 && r.ctx.Err() == nil {
		if _, err := r.fleet.Pending(r.ctx); err != nil {
			t.Fatal(err)
		}
	}
	if totals := r.fleet.Totals(); totals.Trouble != 1 || totals.Connected != 0 {
		t.Errorf("%+v", totals)
	}
}

func TestRefusedPublicationIsTrouble(t *testing.T) {
	r := try(t, sockets(1), FleetOptions{}, nil)
	r.server.Publications = func(n int) fakepush.Fault {
		if n == 3 {
			return fakepush.Refuse
		}
		return fakepush.None
	}
	r.connect("all", 1)
	p := r.publish(Campaign{Streams: 1, Connections: 1, Count: 5})
	if p.Stored != 4 || p.Refused[503] != 1 || r.fleet.Totals().Trouble != 1 {
		t.Errorf("%+v", p)
	}
}

func TestReturningClientsMissNothing(t *testing.T) {
	f := func(name string, plan Plan) {
		t.Run(name, func(t *testing.T) {
			r := try(t, plan, FleetOptions{PerWorker: 6}, nil)
			shared := Campaign{First: plan.SharedStream(0), Streams: 1, Connections: 1, Count: 3}
			r.connect("all", 10)
			r.publish(shared)
			r.check(Integrity{Deliveries: 30})
			r.must(r.fleet.Drop(r.ctx, Drop{Group: "all"}))
			r.publish(shared)
			r.connect("all", 10)
			r.check(Integrity{Deliveries: 60})
		})
	}
	f("websocket", sockets(10))
	f("poll", polls(10))
}

func TestChurnLosesNothing(t *testing.T) {
	plan := sockets(10)
	r := try(t, plan, FleetOptions{PerWorker: 6}, nil)
	r.connect("all", 10)
	shared := Campaign{First: plan.SharedStream(0), Streams: 1, Connections: 1, Count: 1, Await: true}
	r.publish(shared)
	r.must(r.fleet.Churn(r.ctx, Churn{Group: "all", Rate: 200}))
	shared.Await, shared.Rate, shared.Count = false, 500, 200
	r.publish(shared)
	r.must(r.fleet.Churn(r.ctx, Churn{Group: "all"}))
	s := r.check(Integrity{Deliveries: 2010})
	if s.Returns == 0 {
		t.Error("nobody was away")
	}
}

// A server that stands still for a while must look as slow as it was, however few publications it saw meanwhile.
func TestStallShowsInEveryPublicationThatWasDue(t *testing.T) {
	const stall = 300 * time.Millisecond
	r := try(t, sockets(1), FleetOptions{}, nil)
	r.server.Publications = func(n int) fakepush.Fault {
		if n == 1 {
			<-time.After(stall)
		}
		return fakepush.None
	}
	r.connect("all", 1)
	r.publish(Campaign{Streams: 1, Connections: 1, Rate: 1000, Count: 150})
	s := r.check(Integrity{Deliveries: 150})
	// The last of them was due half way through the stall.
	if min := s.Delivery.Millis(0); min < 100 {
		t.Errorf("a delivery within %v ms of a stall of %v", min, stall)
	}
}

func TestFloorWritesToAll(t *testing.T) {
	plan := sockets(5)
	plan.Users, plan.Shared = 10, 2
	plan.Groups = append(plan.Groups, Group{Name: "floor", First: 5, Count: 5, Shared: []int{1}})
	r := try(t, plan, FleetOptions{Floor: "floor"}, nil)
	r.connect("all", 5)
	r.connect("floor", 5)
	if _, err := r.fleet.Spread(r.ctx, Spread{Stream: plan.SharedStream(1), Count: 4, Threads: 2}); err != nil {
		t.Fatal(err)
	}
	r.check(Integrity{Deliveries: 20})
}

func TestWorkerThatDiesIsAnError(t *testing.T) {
	r := try(t, sockets(1), FleetOptions{}, nil)
	r.must(r.fleet.workers[0].cmd.Process.Kill())
	if _, err := r.fleet.Stats(r.ctx, false); err == nil {
		t.Error("no error")
	}
}

func TestUnknownGroupIsAnError(t *testing.T) {
	r := try(t, sockets(1), FleetOptions{}, nil)
	if _, err := r.fleet.Connect(r.ctx, Connect{Group: "nobody"}); err == nil {
		t.Error("no error")
	}
}
