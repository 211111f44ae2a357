package redisbus

import (
	"context"

	"github.com/redis/rueidis"
)

// PutStatistics implements engine.Statistics.
func (b *Bus) PutStatistics(ctx context.Context, name string, record []byte) error {
	err := b.commands.call(func(c rueidis.Client) error {
		return c.Do(ctx, c.B().Hset().Key(b.keys.statistics).FieldValue().FieldValue(name, string(record)).Build()).Error()
	})
	return b.failed("put statistics", err)
}

// Statistics implements engine.Statistics. The records are as they stand: those of other programs may be anything.
func (b *Bus) Statistics(ctx context.Context) (map[string][]byte, error) {
	var records map[string][]byte
	err := b.commands.call(func(c rueidis.Client) error {
		all, err := c.Do(ctx, c.B().Hgetall().Key(b.keys.statistics).Build()).AsStrMap()
		if isWrongType(err) {
			return nil
		}
		records = make(map[string][]byte, len(all))
		for name, record := range all {
			records[name] = []byte(record)
		}
		return err
	})
	if err := b.failed("statistics", err); err != nil {
		return nil, err
	}
	return records, nil
}

// DeleteStatistics implements engine.Statistics.
func (b *Bus) DeleteStatistics(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	err := b.commands.call(func(c rueidis.Client) error {
		return c.Do(ctx, c.B().Hdel().Key(b.keys.statistics).Field(names...).Build()).Error()
	})
	return b.failed("delete statistics", err)
}
