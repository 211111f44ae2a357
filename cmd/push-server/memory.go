package main

import (
	"context"
	"fmt"

	"push-server/engine"
	"push-server/engine/membus"
)

// memorySockets is how many lead to a bus in the memory of a process.
const memorySockets = 2

// memoryOffer is what a successor is offered of a bus in memory. The zero value: the bus is elsewhere, and nothing has to be done.
type memoryOffer struct{ *membus.Offer }

func offerMemory(bus engine.Bus) (o memoryOffer, err error) {
	if b, ok := bus.(*membus.Bus); ok {
		o.Offer, err = b.Offer()
	}
	return o, err
}

func (o memoryOffer) sockets() []int {
	if o.Offer == nil {
		return nil
	}
	return o.Sockets[:]
}

func (o memoryOffer) sent() {
	if o.Offer != nil {
		o.Sent()
	}
}

func (o memoryOffer) freeze() {
	if o.Offer != nil {
		o.Freeze()
	}
}

// cancel may be called more than once.
func (o *memoryOffer) cancel() {
	if o.Offer != nil {
		o.Cancel()
		o.Offer = nil
	}
}

// leave returns what is closed when the successor has ended.
func (o memoryOffer) leave() (gone <-chan struct{}, err error) {
	if o.Offer == nil {
		return nil, nil
	}
	return o.Leave()
}

// followers is how many other processes ask a bus in memory.
func followers(bus engine.Bus) int {
	if b, ok := bus.(*membus.Bus); ok {
		return b.Followers()
	}
	return 0
}

// memoryBus goes on with the bus of the predecessor, if that was in memory.
func (h *succession) memoryBus(o membus.Options) (*membus.Bus, error) {
	if h == nil || len(h.memory) != memorySockets {
		return membus.New(o), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), prepareTime)
	defer cancel()
	sockets := [memorySockets]int(h.memory)
	h.memory = nil
	b, bus, err := membus.Follow(ctx, o, sockets)
	if err != nil {
		return nil, fmt.Errorf("what was published cannot be copied: %w", err)
	}
	h.bus = bus
	return b, nil
}

// catchUp returns when what the predecessor had is in memory here.
func (h *succession) catchUp(ctx context.Context) error {
	if h.bus == nil {
		return nil
	}
	return h.bus.CatchUp(ctx)
}
