package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// imageUser is the number of the user in images with the Node server, who owns what their volumes hold.
const imageUser = "979:979"

// image makes one image for all architectures, as an archive in the format of OCI: docker load, podman load and skopeo read it.
func (r *release) image() error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range r.archs {
		image, err := r.imageOf(arch)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: arch},
		}})
	}
	// docker load and podman load name the image as the annotations say.
	outer := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: index, Descriptor: v1.Descriptor{
		Annotations: map[string]string{
			"io.containerd.image.name":          "docker.io/library/push-server:" + r.tag(),
			"org.opencontainers.image.ref.name": r.tag(),
		},
	}})
	dir := filepath.Join(r.work, "image")
	if _, err := layout.Write(dir, outer); err != nil {
		return err
	}
	if err := r.normalise(dir); err != nil {
		return err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := writeTree(w, dir, "", r.date); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, "push-server-"+r.packageVersion+"-image.tar"), b.Bytes(), 0o644)
}

// tag is the version as the name of an image may have it.
func (r *release) tag() string {
	return string(bytes.ReplaceAll([]byte(r.packageVersion), []byte("+"), []byte("-")))
}

func (r *release) imageOf(arch string) (v1.Image, error) {
	text, err := r.layer(arch)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.Append(base, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: r.date}, CreatedBy: "make package"}})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", arch, v1.Time{Time: r.date}
	config.Config = r.imageConfig()
	return mutate.ConfigFile(image, config)
}

// imageConfig says how a container runs. Without arguments the server is configured by environment variables.
func (r *release) imageConfig() v1.Config {
	return v1.Config{
		User:         imageUser,
		Entrypoint:   []string{"/usr/bin/push-server"},
		Env:          []string{"PATH=/usr/bin", "ZONEINFO=/usr/share/zoneinfo.zip"},
		ExposedPorts: map[string]struct{}{"8010/tcp": {}, "9010/tcp": {}},
		Healthcheck: &v1.HealthConfig{
			Test:     []string{"CMD", "/usr/bin/push-server", "health"},
			Interval: 10 * time.Second, Timeout: 6 * time.Second, StartPeriod: 10 * time.Second,
		},
		StopSignal: "SIGTERM",
		Labels: map[string]string{
			"org.opencontainers.image.title":    "push-server",
			"org.opencontainers.image.version":  r.packageVersion,
			"org.opencontainers.image.licenses": "MIT",
			"org.opencontainers.image.created":  r.date.Format(time.RFC3339),
		},
	}
}

// layer is all that is in the image: the program, who may run it, whom it trusts, what time it is elsewhere.
func (r *release) layer(arch string) ([]byte, error) {
	program, err := os.ReadFile(r.binary(arch))
	if err != nil {
		return nil, err
	}
	bill, err := os.ReadFile(r.billFile(arch))
	if err != nil {
		return nil, err
	}
	licence, err := os.ReadFile(filepath.Join(r.root, "LICENSE"))
	if err != nil {
		return nil, err
	}
	zones, err := os.ReadFile(filepath.Join(r.goRoot, "lib/time/zoneinfo.zip"))
	if err != nil {
		return nil, fmt.Errorf("time zones: %w", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, folder := range []string{"etc", "etc/ssl", "etc/ssl/certs", "usr", "usr/bin", "usr/share", "usr/share/doc", "usr/share/doc/push-server"} {
		if err := writeFolder(w, folder, r.date); err != nil {
			return nil, err
		}
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777, ModTime: r.date, Format: tar.FormatUSTAR}); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		path string
		mode os.FileMode
		text []byte
	}{
		{"etc/group", 0o644, []byte("root:x:0:\nbitrix:x:979:\n")},
		{"etc/passwd", 0o644, []byte("root:x:0:0:root:/:/sbin/nologin\nbitrix:x:979:979:push server:/:/sbin/nologin\n")},
		{"etc/ssl/certs/ca-certificates.crt", 0o644, authorities()},
		{"usr/bin/push-server", 0o755, program},
		{"usr/share/doc/push-server/LICENSE", 0o644, licence},
		{"usr/share/doc/push-server/THIRD_PARTY_LICENSES", 0o644, r.licences},
		{"usr/share/doc/push-server/sbom.cdx.json", 0o644, bill},
		{"usr/share/zoneinfo.zip", 0o644, zones},
	} {
		if err := writeFile(w, f.path, f.mode, f.text, r.date); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}

// authorities are those that Mozilla trusts without a condition that a file cannot express.
func authorities() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a buffer takes everything
		}
	}
	return b.Bytes()
}
