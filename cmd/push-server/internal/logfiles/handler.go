package logfiles

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
)

// Handler returns a handler that writes warnings and errors to the system-error file: the message, then key=value.
func (f *Folder) Handler() slog.Handler { return handler{folder: f} }

type handler struct {
	folder *Folder
	attrs  string // of the logger, each behind a space
	prefix string // names of groups, each before a dot
}

func (h handler) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

func (h handler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		writeAttr(&b, h.prefix, a)
		return true
	})
	h.folder.Write(SystemError, b.String())
	return nil
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	b.WriteString(h.attrs)
	for _, a := range attrs {
		writeAttr(&b, h.prefix, a)
	}
	h.attrs = b.String()
	return h
}

func (h handler) WithGroup(name string) slog.Handler {
	if name != "" {
		h.prefix += name + "."
	}
	return h
}

func writeAttr(b *strings.Builder, prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range v.Group() {
			writeAttr(b, prefix, member)
		}
		return
	}
	text := v.String()
	if text == "" || strings.ContainsAny(text, " \"=") || strconv.Quote(text) != `"`+text+`"` {
		text = strconv.Quote(text)
	}
	b.WriteString(" " + prefix + a.Key + "=" + text)
}
