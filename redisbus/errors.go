package redisbus

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/redis/rueidis"

	"push-server/protocol"
)

// ErrClosed is returned by a bus after Close.
var ErrClosed = protocol.ErrBusClosed

var (
	errSubscribed = errors.New("redisbus: the bus has a subscriber already")
	errOutOfOrder = errors.New("redisbus: a publication before this one is not stored")
	errDropped    = errors.New("redisbus: the connection was dropped on request")
	errTooLarge   = errors.New("redisbus: publication too large")
	errCluster    = errors.New("redis is a cluster, which has to be said: storage.cluster")
	errNotYet     = errors.New("redisbus: no connection before the first command")
)

// codeInScript finds the code of an error that a command of a script has, as Redis says it before version 7: at the end of a text of its own.
var codeInScript = regexp.MustCompile(`user_script: ?\d+: -?(READONLY|OOM|MISCONF|NOREPLICAS|MASTERDOWN|LOADING|BUSY|NOPERM|WRONGTYPE) `)

// isRefusal says whether err is about the publication alone and will come again however often it is sent: it cannot be
// taken in, or its script call failed for no reason that lies with Redis. Everything else passes, if sometimes only by the
// hand of an operator: out of memory, read-only, loading, no permission, a counter that is not a number.
func isRefusal(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	if !ok {
		return false
	}
	text := e.Error() // without "ERR", if that was its code
	if noScripts(text) {
		return false
	}
	code, _, _ := strings.Cut(text, " ")
	if code == strings.ToUpper(code) || codeInScript.MatchString(text) {
		return false
	}
	if strings.Contains(text, "not an integer") || saysForbidden(text) {
		return false
	}
	return strings.Contains(text, "Protocol error") || strings.Contains(text, "script")
}

// saysForbidden says whether text is how Redis says, without a code, that the user of a script may not do what it does. The first words are
// those of Redis 7.2 and of Valkey.
func saysForbidden(text string) bool {
	for _, words := range []string{"ACL failure in script", "can't run this command", "can't publish to the channel", "can't access at least one of the"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// noScripts says whether Redis runs no scripts at all for this user, by its words: then nothing can be published.
func noScripts(text string) bool {
	text = strings.ToLower(text)
	if !strings.Contains(text, "unknown command") && !strings.HasPrefix(text, "noperm") {
		return false
	}
	return strings.Contains(text, "'eval'") || strings.Contains(text, "'evalsha'") || strings.Contains(text, "`evalsha`") || strings.Contains(text, "`eval`")
}

// isOfCluster says whether only a node of a cluster answers so: the keys are elsewhere, or have to be in one slot.
func isOfCluster(err error) bool {
	var e *rueidis.RedisError
	if !errors.As(err, &e) {
		return false
	}
	code, _, _ := strings.Cut(e.Error(), " ")
	return slices.Contains([]string{"MOVED", "CROSSSLOT", "CLUSTERDOWN"}, code)
}

func isNoScripts(err error) bool {
	var e *rueidis.RedisError
	return errors.As(err, &e) && noScripts(e.Error())
}

// isForbidden says whether Redis answers, but does not let this user do what is needed.
func isForbidden(err error) bool {
	if errors.Is(err, errCluster) {
		return true
	}
	var e *rueidis.RedisError
	if !errors.As(err, &e) {
		return false
	}
	text := e.Error()
	code, _, _ := strings.Cut(text, " ")
	return slices.Contains([]string{"NOPERM", "NOAUTH", "WRONGPASS"}, code) || noScripts(text) || saysForbidden(text)
}

// errorCounts are the failed operations.
type errorCounts struct {
	mu sync.Mutex
	by map[string]uint64
}

// operations have a count from the start: the first rise could not be seen otherwise.
var operations = []string{
	"publish", "keep", "subscribe", "echo", "history", "remaining", "decode", "store and read", "touch", "online",
	"statistics", "put statistics", "delete statistics",
}

func (c *errorCounts) count(operation string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = make(map[string]uint64)
	}
	c.by[operation]++
}

// Errors returns how often each operation has failed, by its name in small letters and underscores. It may be called from any goroutine.
func (b *Bus) Errors() map[string]uint64 {
	b.errors.mu.Lock()
	defer b.errors.mu.Unlock()
	counts := make(map[string]uint64, len(operations))
	label := strings.NewReplacer(" ", "_")
	for _, operation := range operations {
		counts[label.Replace(operation)] = 0
	}
	for operation, n := range b.errors.by {
		counts[label.Replace(operation)] = n
	}
	return counts
}

func refusal(err error) error { return fmt.Errorf("%w: %w", protocol.ErrRefused, err) }

func isNoScript(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && e.IsNoScript()
}

// isWrongType says whether a key holds something else than it should: someone else's, to be left alone.
func isWrongType(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(e.Error(), "WRONGTYPE")
}
