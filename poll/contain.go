package poll

import (
	"log/slog"
	"runtime/debug"

	"github.com/valyala/fasthttp"
)

// Contained is h whose panic ends one request, with 500, instead of the process: a request is answered by a goroutine that owns all it
// changes.
func Contained(h fasthttp.RequestHandler, log *slog.Logger) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		defer func() {
			if r := recover(); r != nil {
				log.Error("BUG: panic while a request was answered, answering with 500", "panic", r, "addr", AddressText(ctx.RemoteAddr()),
					"stack", string(debug.Stack()))
				ctx.Response.Reset()
				ctx.Error("", fasthttp.StatusInternalServerError)
				ctx.SetConnectionClose()
			}
		}()
		h(ctx)
	}
}
