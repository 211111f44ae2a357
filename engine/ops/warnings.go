package ops

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Warnings is a slog.Handler that keeps the latest warnings and errors for operators.
type Warnings struct {
	kept   *kept
	attrs  []attr // of the logger
	prefix string // names of groups, each before a dot
}

type kept struct {
	mu  sync.Mutex
	all []Warning // oldest first
}

// Warning is a log line.
type Warning struct {
	Time    time.Time         `json:"time"`
	Level   string            `json:"level"`
	Message string            `json:"message"`
	Attrs   map[string]string `json:"attrs"`
}

type attr struct{ key, value string }

// What is kept: so many lines, and of each so many attributes, cut off after so many bytes.
const (
	maxWarnings  = 100
	maxAttrs     = 16
	maxAttrBytes = 1 << 10
)

// NewWarnings keeps none yet.
func NewWarnings() *Warnings { return &Warnings{kept: &kept{}} }

// Recent returns what is kept, newest first.
func (w *Warnings) Recent() []Warning {
	w.kept.mu.Lock()
	defer w.kept.mu.Unlock()
	all := append([]Warning{}, w.kept.all...)
	slices.Reverse(all)
	return all
}

func (w *Warnings) serve(to http.ResponseWriter, _ *http.Request) {
	answer(to, http.StatusOK, w.Recent())
}

// Enabled implements slog.Handler.
func (w *Warnings) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle implements slog.Handler.
func (w *Warnings) Handle(_ context.Context, r slog.Record) error {
	attrs := slices.Clip(w.attrs)
	r.Attrs(func(a slog.Attr) bool {
		attrs = appendAttr(attrs, w.prefix, a)
		return len(attrs) < maxAttrs
	})
	line := Warning{Time: r.Time, Level: r.Level.String(), Message: cut(r.Message), Attrs: make(map[string]string, len(attrs))}
	for _, a := range attrs[:min(len(attrs), maxAttrs)] {
		line.Attrs[a.key] = a.value
	}
	w.kept.mu.Lock()
	defer w.kept.mu.Unlock()
	if len(w.kept.all) == maxWarnings {
		w.kept.all = slices.Delete(w.kept.all, 0, 1)
	}
	w.kept.all = append(w.kept.all, line)
	return nil
}

// WithAttrs implements slog.Handler.
func (w *Warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *w
	with.attrs = slices.Clip(with.attrs)
	for _, a := range attrs {
		with.attrs = appendAttr(with.attrs, w.prefix, a)
	}
	return &with
}

// WithGroup implements slog.Handler.
func (w *Warnings) WithGroup(name string) slog.Handler {
	with := *w
	if name != "" {
		with.prefix += name + "."
	}
	return &with
}

func appendAttr(dst []attr, prefix string, a slog.Attr) []attr {
	v := a.Value.Resolve()
	if v.Kind() != slog.KindGroup {
		return append(dst, attr{cut(prefix + a.Key), cut(v.String())})
	}
	if a.Key != "" {
		prefix += a.Key + "."
	}
	for _, member := range v.Group() {
		dst = appendAttr(dst, prefix, member)
	}
	return dst
}

// cut bounds text, of which a copy is kept: it may be a part of something larger.
func cut(text string) string {
	if len(text) <= maxAttrBytes {
		return strings.Clone(text)
	}
	return strings.ToValidUTF8(text[:maxAttrBytes], "") + "…"
}
