package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// readImage unpacks the archive of the image and finds that of this architecture in it.
func readImage(t *testing.T) v1.Image {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-xf", releaseFile(t, old, "*-image.tar"), "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	named, err := outer.IndexManifest()
	if err != nil || len(named.Manifests) != 1 || named.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "1.2.3" {
		t.Fatalf("%v %+v", err, named)
	}
	index, err := outer.ImageIndex(named.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range manifest.Manifests {
		if m.Platform.Architecture == runtime.GOARCH {
			image, err := index.Image(m.Digest)
			if err != nil {
				t.Fatal(err)
			}
			return image
		}
	}
	t.Fatalf("%+v has no image for this machine", manifest)
	return nil
}

// TestImage runs what is in the image as a container would: in its root, as its user, with variables of the environment.
func TestImage(t *testing.T) {
	rootNeeded(t)
	image := readImage(t)
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := config.Config
	if c.User != "979:979" || !slices.Equal(c.Entrypoint, []string{"/usr/bin/push-server"}) || len(c.Cmd) > 0 ||
		!slices.Equal(c.Healthcheck.Test, []string{"CMD", "/usr/bin/push-server", "health"}) || len(c.ExposedPorts) != 2 {
		t.Errorf("%+v", c)
	}
	files := filepath.Join(t.TempDir(), "files.tar")
	f, err := os.Create(files)
	if err != nil {
		t.Fatal(err)
	}
	content := mutate.Extract(image)
	if _, err = f.ReadFrom(content); err != nil {
		t.Fatal(err)
	}
	content.Close()
	f.Close()
	m := boot(t, files)
	m.run("mkdir /tmp/image; tar -xf /tmp/files.tar -C /tmp/image; mkdir /tmp/image/run; echo a-key-that-nobody-can-guess >/tmp/image/run/key")
	const container = "env -i ZONEINFO=/usr/share/zoneinfo.zip TZ=Asia/Tokyo PUSH_SUB_MODE=sub PUSH_PUB_MODE=pub PUSH_SECURITY_KEY_FILE=/run/key " +
		"/usr/sbin/chroot --userspec=979:979 /tmp/image /usr/bin/push-server "
	m.says(container+"version", "v1.2.3")
	m.run("setsid " + container + ">/tmp/log 2>&1 </dev/null &")
	m.await(container + "health")
	m.run(container + "publish --expiry 1m " + exampleChannel + " hello")
	m.openPortal(container + "%s").hears()
	m.says(container+"subscribe --mid 00000000000000000000000000 --expect 1 --timeout 20s "+exampleChannel, "hello")
}
