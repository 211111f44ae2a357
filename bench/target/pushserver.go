package target

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"push-server/bench/load"
)

// The paths of a portal.
const (
	subPath  = "/bitrix/subws/"
	pubPath  = "/bitrix/pub/"
	restPath = "/bitrix/rest/"
	statPath = "/server-stat/"
)

// key signs the channels of every server that is started here.
const key = "bench-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// startPushServer starts the server of this project, or several that share the subscribers' port.
func (r *Running) startPushServer(ctx context.Context, o Options) error {
	binary, err := filepath.Abs(o.Binary)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	r.binary = binary
	if o.Kind == PushServer {
		if err := r.startRedis(ctx); err != nil {
			return err
		}
	}
	sub, err := freePort()
	if err != nil {
		return err
	}
	r.Target = pushTarget(sub)
	for i := range max(o.Processes, 1) {
		pub, err := freePort()
		if err != nil {
			return err
		}
		file, err := r.writeConfig(o, i, sub, pub)
		if err != nil {
			return err
		}
		p, err := r.run(fmt.Sprintf("push-server-%d", i), exec.Command(binary, "--config", file))
		if err != nil {
			return err
		}
		r.PIDs = append(r.PIDs, p.pid())
		r.Target.Publish = append(r.Target.Publish, loopback(pub))
		if err := r.awaitAddress(ctx, "tcp", loopback(pub)); err != nil {
			return err
		}
	}
	return nil
}

func pushTarget(sub int) (t load.Target) {
	t.Dialect, t.SubPath, t.PubPath, t.Key = "push", subPath, pubPath, key
	t.Subscribe = []string{loopback(sub)}
	return t
}

// writeConfig writes the configuration of process i, in the format of the Node server, with the extra keys on top.
func (r *Running) writeConfig(o Options, i, sub, pub int) (string, error) {
	processes := max(o.Processes, 1)
	push := map[string]any{"logLevel": "warn"}
	if processes > 1 {
		push["sharePort"] = true
	}
	if o.Format == load.JSONRPC {
		push["v5"] = map[string]any{"enabled": true}
	}
	if i == 0 {
		port, err := freePort()
		if err != nil {
			return "", err
		}
		push["metrics"] = loopback(port)
		r.Metrics = "http://" + loopback(port) + "/metrics"
	}
	config := map[string]any{
		"servers": []any{
			map[string]any{"name": "subscribers", "hostname": "127.0.0.1", "port": sub, "routes": map[string]any{"sub": subPath}},
			map[string]any{"name": "publishers", "hostname": "127.0.0.1", "port": pub,
				"routes": map[string]any{"pub": pubPath, "rest": restPath, "stat": statPath}},
		},
		"security": map[string]any{"key": key},
		"push":     push,
		"storage":  map[string]any{"type": "memory"},
	}
	if r.Redis != nil {
		config["storage"] = map[string]any{"type": "redis", "socket": r.Redis.Socket}
		config["clusterMode"] = true
	}
	for _, text := range [][]byte{o.Scenario, o.Extra} {
		if len(text) == 0 {
			continue
		}
		var extra map[string]any
		if err := json.Unmarshal(text, &extra); err != nil {
			return "", fmt.Errorf("target: extra configuration: %w", err)
		}
		merge(config, extra)
	}
	b, err := json.MarshalIndent(config, "", "\t")
	if err != nil {
		return "", fmt.Errorf("target: %w", err)
	}
	file := filepath.Join(r.folder, fmt.Sprintf("push-server-%d.json", i))
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return "", fmt.Errorf("target: %w", err)
	}
	return file, nil
}

// merge puts the keys of from over those of to, objects key by key; null removes a key.
func merge(to, from map[string]any) {
	for k, v := range from {
		old, ok1 := to[k].(map[string]any)
		sub, ok2 := v.(map[string]any)
		switch {
		case v == nil:
			delete(to, k)
		case ok1 && ok2:
			merge(old, sub)
		default:
			to[k] = v
		}
	}
}
