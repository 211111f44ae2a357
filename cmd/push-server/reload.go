package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"push-server/configs"
	"push-server/engine/ops"
)

// reload reads the configuration again. What may change while the server runs takes effect, and what may not is named. One with an error
// changes nothing.
func (s *server) reload(ctx context.Context) {
	read, err := s.readAgain(ctx)
	if err == nil {
		err = s.adopt(ctx, read)
	}
	if err != nil && ctx.Err() == nil {
		s.log.Error("the configuration is refused, keeping the old one", "err", err)
	}
}

// readAgain returns a configuration without errors. All problems of it are in the log.
func (s *server) readAgain(ctx context.Context) (*configs.Config, error) {
	c, problems, err := readConfiguration(s.files)
	if err != nil {
		return nil, err
	}
	if c != nil {
		problems = append(problems, c.Exposed(configs.Interfaces())...)
	}
	faults := 0
	for _, p := range problems {
		level := slog.LevelWarn
		if p.Severity == configs.Error {
			level = slog.LevelError
			faults++
		}
		s.log.Log(ctx, level, "configuration", "problem", p.String())
	}
	if faults > 0 {
		return nil, errors.New(count(faults, "error"))
	}
	return c, nil
}

// adopt has take effect what may of c. After an error nothing has.
func (s *server) adopt(ctx context.Context, c *configs.Config) error {
	next := s.config.Adopt(c)
	level, err := next.Push.Level()
	if err != nil {
		return fmt.Errorf("push.logLevel: %w", err)
	}
	var window ops.Options
	if s.window != nil {
		if window, err = s.windowOptions(next); err != nil {
			return fmt.Errorf("push.operators: %w", err)
		}
	}
	if err := s.engine.Change(ctx, s.settings(next)); err != nil {
		return err
	}
	if s.window != nil {
		s.window.Change(window)
	}
	s.logs.level.Set(min(level, s.logs.level.Level())) // the lines about it are wanted before and after
	changed, upgrade, restart := s.tellChanges(s.config.Differences(c))
	s.config = next
	s.log.Info("configuration read", "changed", changed, "waiting_for_upgrade", upgrade, "waiting_for_restart", restart)
	s.logs.level.Set(level)
	return nil
}

// tellChanges tells the log what changes now, and what does not.
func (s *server) tellChanges(all []configs.Difference) (changed, upgrade, restart int) {
	for _, d := range all {
		from, to := d.Text()
		switch {
		case d.Change.Reloads():
			changed++
			s.log.Info("configuration changed", "key", d.Key, "from", from, "to", to)
		case d.Change.Restarts():
			restart++
			s.log.Warn("the configuration has changed, the old value counts until the server is restarted", "key", d.Key, "from", from, "to", to)
		default:
			upgrade++
			s.log.Warn("the configuration has changed, the old value counts until the server is upgraded or restarted", "key", d.Key, "from", from, "to", to)
		}
	}
	return changed, upgrade, restart
}
