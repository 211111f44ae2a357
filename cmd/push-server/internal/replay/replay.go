// Package replay performs recorded conversations with a push server and
// reports every difference. The README beside the conversations describes
// their format.
package replay

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Servers are the servers of one group of conversations.
type Servers struct {
	Addrs map[string]string // of sub, pub and redis; a path is a unix socket
	Paths map[string]string // of sub, pub, rest and stat
	Key   string            // security key
	Algo  string            // of signatures: sha1 (if empty), sha256, md5
}

// A Result is the outcome of one conversation.
type Result struct {
	Conversation *Conversation
	Err          error // the differences
	Took         time.Duration
}

// Load reads the conversations below dir. Their paths are relative to it.
func Load(dir string) ([]*Conversation, error) {
	var convs []*Conversation
	root := os.DirFS(dir)
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".txt" {
			return err
		}
		text, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		conv, err := parse(path, string(text))
		convs = append(convs, conv)
		return err
	})
	return convs, err
}

// Run performs the conversation and returns the first step that differs.
func (c *Conversation) Run(servers *Servers) error {
	return newPlayer(c, servers).run()
}

// NeedsRedis reports whether the conversation speaks to Redis itself.
func (c *Conversation) NeedsRedis() bool {
	return slices.ContainsFunc(c.Steps, func(s Step) bool { return s.Verb == "redis" })
}

// RunAll performs the conversations, each with the servers of its group, and
// sends the results in the order of convs. At most parallel are under way at
// a time; slow ones mostly wait and are not counted.
func RunAll(convs []*Conversation, groups map[string]*Servers, parallel int) <-chan Result {
	pending := make([]chan Result, len(convs))
	slots := make(chan struct{}, max(1, parallel))
	for i, conv := range convs {
		pending[i] = make(chan Result, 1)
		go func() {
			if !conv.Slow {
				slots <- struct{}{}
				defer func() { <-slots }()
			}
			begin := time.Now()
			err := conv.Run(groups[conv.Config])
			pending[i] <- Result{conv, err, time.Since(begin)}
		}()
	}
	ordered := make(chan Result, len(convs))
	go func() {
		defer close(ordered)
		for _, result := range pending {
			ordered <- <-result
		}
	}()
	return ordered
}
