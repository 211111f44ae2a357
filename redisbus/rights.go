package redisbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/redis/rueidis"
)

// rights is what Redis does not let its user do, which only an operator can change.
type rights struct {
	log     *slog.Logger
	checked atomic.Bool // since the last connection, and nothing was missing

	any    atomic.Bool // absent is not empty
	mu     sync.Mutex
	absent map[string]error // by operation
}

// opScripts stands for all operations that run scripts: where one can, all can.
const opScripts = "run scripts"

// note notes err, if it is about rights.
func (r *rights) note(operation string, err error) {
	if !isForbidden(err) {
		return
	}
	if isNoScripts(err) {
		operation = opScripts
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.absent[operation] == nil {
		r.log.Error("redis does not allow what is needed, its user or its configuration has to change", "operation", operation, "err", err)
	}
	if r.absent == nil {
		r.absent = make(map[string]error)
	}
	r.absent[operation] = err
	r.any.Store(true)
}

// allow notes that an operation went well.
func (r *rights) allow(operation string) {
	if !r.any.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	done := []string{operation}
	if operation == "publish" || operation == "echo" {
		done = append(done, opScripts)
	}
	for _, operation := range done {
		if r.absent[operation] != nil {
			delete(r.absent, operation)
			r.log.Info("redis allows what is needed again", "operation", operation)
		}
	}
	r.any.Store(len(r.absent) > 0)
}

// Health is what an operator has to know about Redis; nil: nothing. It may be called from any goroutine.
func (b *Bus) Health() error {
	if !b.rights.any.Load() {
		return nil
	}
	b.rights.mu.Lock()
	defer b.rights.mu.Unlock()
	var errs []error
	for _, operation := range slices.Sorted(maps.Keys(b.rights.absent)) {
		errs = append(errs, fmt.Errorf("redis does not allow what is needed to %s: %w", operation, b.rights.absent[operation]))
	}
	return errors.Join(errs...)
}

// checkRights finds out at the beginning of a connection what publishers would find out later, and repeats it until nothing is
// missing. The rights to run scripts, to publish and to subscribe show by themselves. It changes nothing: Redis looks at rights before it
// looks at values, which are wrong here, or at keys, which do not exist.
func (b *Bus) checkRights(ctx context.Context) {
	if b.rights.checked.Load() {
		return
	}
	forbidden, err := b.try(ctx, b.attempts())
	if err == nil {
		err = errors.Join(forbidden...)
	}
	if err == nil {
		b.rights.checked.Store(true)
	}
	_ = b.failed("store and read", err)
}

// attempts are commands that fail, or do nothing, where their user may run them.
func (b *Bus) attempts() [][]string {
	k := &b.keys
	own := k.sequence + b.options.UID + ":rights"
	const no = "-"
	attempts := [][]string{
		{"INCR", own}, {"DEL", own}, {"SET", own, no, "EX", no}, {"EXPIRE", k.counter, no}, {"EXPIRE", k.startdate, no},
		{"MGET", k.counter, k.startdate}, {"SETEX", k.message, no, no}, {"MGET", k.message}, {"STRLEN", k.message},
		{"GETRANGE", k.message, no, no}, {"PTTL", k.message}, {"EXISTS", k.message},
	}
	for _, history := range []string{k.privateHistory, k.publicHistory} {
		attempts = append(attempts, []string{"ZADD", history, no, no}, []string{"ZREM", history, no}, []string{"EXPIRE", history, no},
			[]string{"ZREMRANGEBYRANK", history, "0", "0"}, []string{"ZREVRANGEBYLEX", history, "+", no})
	}
	for _, online := range []string{k.privateOnline, k.publicOnline} {
		attempts = append(attempts, []string{"SETEX", online, no, no}, []string{"MGET", online})
	}
	return attempts
}

// try runs commands and returns an error for each that Redis does not allow.
func (b *Bus) try(ctx context.Context, attempts [][]string) (forbidden []error, err error) {
	err = b.commands.call(func(c rueidis.Client) error {
		commands := make([]rueidis.Completed, len(attempts))
		for i, words := range attempts {
			commands[i] = c.B().Arbitrary(words...).Build()
		}
		forbidden = nil
		for i, r := range c.DoMulti(ctx, commands...) {
			if err := r.NonRedisError(); err != nil {
				return err
			}
			if err := r.Error(); isForbidden(err) {
				forbidden = append(forbidden, fmt.Errorf("%s %s: %w", attempts[i][0], attempts[i][1], err))
			}
		}
		return nil
	})
	return forbidden, err
}
