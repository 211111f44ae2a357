package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"push-server/cmd/push-server/internal/replay"
	"push-server/redisbus/redistest"
)

// TestConversations replays what clients, backends and the Node server were recorded to say to each other.
func TestConversations(t *testing.T) {
	convs, err := replay.Load(filepath.Join("testdata", "conversations"))
	if err != nil {
		t.Fatal(err)
	}
	convs = slices.DeleteFunc(convs, func(c *replay.Conversation) bool {
		return c.Config == "untrusted" // cloud mode is refused
	})
	slow := os.Getenv("PUSH_TEST_SLOW") != ""
	if !slow {
		all := len(convs)
		convs = slices.DeleteFunc(convs, func(c *replay.Conversation) bool { return c.Slow })
		t.Logf("%d slow conversations are left to make test-slow", all-len(convs))
	}
	t.Run("memory", func(t *testing.T) {
		if slow { // those wait for minutes, so both may wait at the same time
			t.Parallel()
		}
		ours := slices.DeleteFunc(slices.Clone(convs), (*replay.Conversation).NeedsRedis)
		converse(t, ours, func() *redistest.Server { return nil })
	})
	t.Run("redis", func(t *testing.T) {
		if slow {
			t.Parallel()
		}
		converse(t, convs, func() *redistest.Server { return startRedis(t) })
	})
}

// converse replays conversations with one installation for each group, each with a store of its own.
func converse(t *testing.T, convs []*replay.Conversation, store func() *redistest.Server) {
	groups := map[string]*replay.Servers{}
	for _, name := range []string{"default", "low-limits", "single", "sha256"} {
		groups[name] = install(t, name, store(), 1).servers()
	}
	groups["sha256"].Algo = "sha256"
	for result := range replay.RunAll(convs, groups, 16) {
		t.Run(result.Conversation.Path, func(t *testing.T) {
			if result.Err != nil {
				t.Error(result.Err)
			}
		})
	}
}

func (in *installation) servers() *replay.Servers {
	return &replay.Servers{
		Addrs: map[string]string{"sub": in.subs[0], "pub": in.pub, "redis": socketOf(in.redis)},
		Paths: map[string]string{"sub": subPath, "pub": pubPath, "rest": restPath, "stat": statPath},
		Key:   testKey,
	}
}
