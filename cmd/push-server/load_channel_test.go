package main

import (
	"context"
	"fmt"
	"sync"

	"push-server/protocol/testclient"
)

// A loadChannel numbers its publications. Nobody may fall back further than history reaches, so publishers wait for the slowest listener.
type loadChannel struct {
	testclient.Channel
	name string
	// Of users: some of its listeners speak version 5, and get what is published to their users beside it.
	own    bool
	users  []int
	public bool // none of its listeners do, so that its public id is enough

	mu        sync.Mutex
	changed   sync.Cond
	published int
	seen      map[*listener]int // the last number
	uncertain map[int]bool      // numbers whose publication had no answer: they may be missing

	former    testclient.Channel // what it was before; none: it has been the same for ever
	changedAt int                // publications by then: who has not seen them all comes for the former channel
	used      map[*listener]testclient.Channel
}

// maxBehind is how many publications of a channel a listener may miss: of two channels together fewer than the 200 that a
// client gets when it returns.
const maxBehind = 80

// number gives the next publication its number, when all listeners are near enough.
func (ch *loadChannel) number(ctx context.Context) (int, error) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	for ctx.Err() == nil && ch.published-ch.slowest() >= maxBehind {
		ch.changed.Wait()
	}
	ch.published++
	ch.changed.Broadcast()
	return ch.published, ctx.Err()
}

func (ch *loadChannel) slowest() int {
	least := ch.published
	for _, n := range ch.seen {
		least = min(least, n)
	}
	return least
}

// progress is how many were published, and how many of them everybody has seen.
func (ch *loadChannel) progress() (published, seen int) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.published, ch.slowest()
}

// see notes that the listener has got number n, which has to be the next one.
func (ch *loadChannel) see(who *listener, n int) error {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	due := ch.seen[who] + 1
	for due < n && ch.uncertain[due] {
		due++
	}
	if n != due {
		return disorder{fmt.Errorf("channel %s: got publication %d after %d, %d were published", ch.name, n, ch.seen[who], ch.published)}
	}
	ch.seen[who] = n
	ch.changed.Broadcast()
	return nil
}

// doubt notes that nobody knows whether number n was published.
func (ch *loadChannel) doubt(n int) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.uncertain[n] = true
}

// A disorder is something that a client must not see, whatever happens.
type disorder struct{ error }

// behind is how many publications the listener has not seen.
func (ch *loadChannel) behind(who *listener) int {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.published - ch.seen[who]
}

// change gives the channel other ids. Publications go to the former ones as well.
func (ch *loadChannel) change() {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.former, ch.changedAt, ch.Channel = ch.Channel, ch.published, testclient.NewChannel(testKey)
}

// use is the channel that a listener connects for.
func (ch *loadChannel) use(who *listener) testclient.Channel {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.used[who] = ch.Channel
	if ch.seen[who] < ch.changedAt {
		ch.used[who] = ch.former
	}
	return ch.used[who]
}

// stragglers is how many listeners still use the former ids.
func (ch *loadChannel) stragglers() (n int) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	for _, used := range ch.used {
		if used != ch.Channel {
			n++
		}
	}
	return n
}

// current is what one has to publish to.
func (ch *loadChannel) current() []testclient.Channel {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.former.Private == "" {
		return []testclient.Channel{ch.Channel}
	}
	return []testclient.Channel{ch.Channel, ch.former}
}

func (ch *loadChannel) privateIDs() (ids []string) {
	for _, current := range ch.current() {
		ids = append(ids, current.Private)
	}
	return ids
}
