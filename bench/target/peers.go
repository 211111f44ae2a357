package target

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"text/template"

	"push-server/bench/peers"
	"push-server/bench/proc"
)

// startNode starts the small server over Node's ws that is in bench/peers/node.
func (r *Running) startNode(ctx context.Context, o Options) error {
	folder, err := filepath.Abs(filepath.Join(o.Peers, "node"))
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules")); err != nil {
		return fmt.Errorf("target: the Node peer is not installed; do: npm install --prefix %s", folder)
	}
	if err := r.startRedis(ctx); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	cmd := exec.Command("node", filepath.Join(folder, "server.js"))
	cmd.Env = append(os.Environ(), "PORT="+strconv.Itoa(port), "REDIS="+r.Redis.Socket, "KEY="+key, "SUB="+subPath, "PUB="+pubPath)
	p, err := r.run("node", cmd)
	if err != nil {
		return err
	}
	r.PIDs = []int{p.pid()}
	r.Target = pushTarget(port)
	r.Target.Publish = r.Target.Subscribe
	return nil
}

// nchanModule is where Debian puts the module.
const nchanModule = "/usr/lib/nginx/modules/ngx_nchan_module.so"

// startNchan starts nginx with nchan.
func (r *Running) startNchan(ctx context.Context, o Options) error {
	if _, err := os.Stat(nchanModule); err != nil {
		return fmt.Errorf("target: nchan is not installed; do: apt-get install libnginx-mod-nchan")
	}
	if o.Kind == NchanRedis {
		if err := r.startRedis(ctx); err != nil {
			return err
		}
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	file, err := r.writeNginx(port)
	if err != nil {
		return err
	}
	p, err := r.run("nginx", exec.Command("nginx", "-c", file, "-p", r.folder))
	if err != nil {
		return err
	}
	r.Target.Dialect, r.Target.SubPath, r.Target.PubPath = "nchan", "/sub", "/pub"
	r.Target.Subscribe = []string{loopback(port)}
	r.Target.Publish = r.Target.Subscribe
	if err := r.await(ctx); err != nil {
		return err
	}
	children, err := proc.Children(p.pid())
	r.PIDs = append([]int{p.pid()}, children...)
	return err
}

func (r *Running) writeNginx(port int) (string, error) {
	t, err := template.New("nginx").Parse(peers.Nginx)
	if err != nil {
		return "", fmt.Errorf("target: template of nginx: %w", err)
	}
	file := filepath.Join(r.folder, "nginx.conf")
	f, err := os.Create(file)
	if err != nil {
		return "", fmt.Errorf("target: %w", err)
	}
	defer f.Close()
	values := map[string]any{"Module": nchanModule, "Folder": r.folder, "Port": port, "Workers": runtime.NumCPU(), "Redis": ""}
	if r.Redis != nil {
		values["Redis"] = fmt.Sprintf("redis://127.0.0.1:%d", r.Redis.Port)
	}
	if err := t.Execute(f, values); err != nil {
		return "", fmt.Errorf("target: template of nginx: %w", err)
	}
	return file, nil
}
