package load

import (
	"strings"
	"testing"
)

func TestStreamsDoNotOverlap(t *testing.T) {
	p := &Plan{Users: 10, Shared: 2, Chats: 3, ChatSize: 4}
	seen := make(map[int]bool)
	for u := range p.Users {
		seen[p.OwnStream(u)], seen[p.ClientStream(u)] = true, true
	}
	for k := range p.Shared {
		seen[p.SharedStream(k)] = true
	}
	for j := range p.Chats {
		seen[p.ChatStream(j)] = true
	}
	if len(seen) != p.Streams() || seen[p.Streams()] {
		t.Errorf("%d streams, want %d", len(seen), p.Streams())
	}
}

func TestChatMembersAreDistinct(t *testing.T) {
	p := &Plan{Users: 1000, Chats: 50, ChatSize: 10}
	for j := range p.Chats {
		members := make(map[int]bool)
		for k := range p.ChatSize {
			members[p.chatMember(j, k)] = true
		}
		if len(members) != p.ChatSize {
			t.Errorf("chat %d has %d members", j, len(members))
		}
	}
}

func TestSubscriptionIsSigned(t *testing.T) {
	p := &Plan{Users: 2, Shared: 1, Seed: "s", Target: Target{Key: "k"}}
	g := &Group{Own: true, Public: true, Shared: []int{0}}
	items := strings.Split(p.items(g, 1), "/")
	if len(items) != 2 || len(items[0]) != 32+1+32+1+40 || len(items[1]) != 32+1+40 {
		t.Errorf("%q", items)
	}
	if p.items(g, 0) == p.items(g, 1) {
		t.Error("two users have the same channels")
	}
	g.Quiet = 3
	seen := make(map[string]bool)
	for user := range 2 {
		for _, item := range strings.Split(p.items(g, user), "/") {
			seen[item] = true
		}
	}
	if len(seen) != 2*(1+3)+1 {
		t.Errorf("two users have the channels %v", seen)
	}
}
