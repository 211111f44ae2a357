package target

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
)

// centrifugoVersion is the one that was tried, and that the error tells how to get.
const centrifugoVersion = "v6.9.1"

// startCentrifugo starts Centrifugo with history, as a portal needs it, in memory or in Redis.
func (r *Running) startCentrifugo(ctx context.Context, o Options) error {
	folder, err := filepath.Abs(filepath.Join(o.Peers, "bin"))
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	binary := filepath.Join(folder, "centrifugo")
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("target: Centrifugo is not installed; do: GOBIN=%s go install github.com/centrifugal/centrifugo/v6@%s", folder, centrifugoVersion)
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	engine := map[string]any{"type": "memory"}
	if o.Kind == CentrifugoRedis {
		if err := r.startRedis(ctx); err != nil {
			return err
		}
		engine = map[string]any{"type": "redis", "redis": map[string]any{"address": (&url.URL{Scheme: "redis", Host: loopback(r.Redis.Port)}).String()}}
	}
	file, err := r.writeCentrifugo(port, engine)
	if err != nil {
		return err
	}
	p, err := r.run("centrifugo", exec.Command(binary, "--config", file))
	if err != nil {
		return err
	}
	r.PIDs = []int{p.pid()}
	r.Target.Dialect, r.Target.Key = "centrifugo", key
	r.Target.SubPath, r.Target.PubPath = "/connection/uni_websocket", "/api/publish"
	r.Target.Subscribe = []string{loopback(port)}
	r.Target.Publish = r.Target.Subscribe
	return nil
}

func (r *Running) writeCentrifugo(port int, engine map[string]any) (string, error) {
	b, err := json.MarshalIndent(map[string]any{
		"http_server":   map[string]any{"address": "127.0.0.1", "port": port},
		"client":        map[string]any{"token": map[string]any{"hmac_secret_key": key}},
		"http_api":      map[string]any{"key": key},
		"uni_websocket": map[string]any{"enabled": true},
		"channel": map[string]any{"without_namespace": map[string]any{
			"history_size": 100, "history_ttl": "600s", "force_recovery": true, // what a portal keeps
		}},
		"engine":      engine,
		"usage_stats": map[string]any{"disabled": true},
		"log":         map[string]any{"level": "error"},
	}, "", "\t")
	if err != nil {
		return "", fmt.Errorf("target: %w", err)
	}
	file := filepath.Join(r.folder, "centrifugo.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return "", fmt.Errorf("target: %w", err)
	}
	return file, nil
}
