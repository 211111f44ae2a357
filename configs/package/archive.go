package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// writeTree adds all of a folder to an archive, below prefix, owned by root.
func writeTree(w *tar.Writer, root, prefix string, date time.Time) error {
	return filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		path := strings.TrimPrefix(filepath.ToSlash(filepath.Join(prefix, inside)), "/")
		if entry.IsDir() {
			return writeFolder(w, path, date)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return writeFile(w, path, info.Mode().Perm(), text, date)
	})
}

func writeFolder(w *tar.Writer, path string, date time.Time) error {
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: path + "/", Mode: 0o755, ModTime: date, Format: tar.FormatUSTAR})
}

func writeFile(w *tar.Writer, path string, mode fs.FileMode, text []byte, date time.Time) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: int64(mode), Size: int64(len(text)), ModTime: date, Format: tar.FormatUSTAR}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := w.Write(text)
	return err
}

// tarball is for every Linux: unpacked below /usr/local, it is what make install makes there.
func (r *release) tarball(arch string) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	name := fmt.Sprintf("push-server-%s-linux-%s", r.packageVersion, arch)
	root := r.staged(arch, ofTarball)
	if err := writeTree(w, filepath.Join(root, string(ofTarball)), name, r.date); err != nil {
		return err
	}
	if err := writeTree(w, filepath.Join(root, "etc"), name+"/share/push-server/etc", r.date); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, name+".tar.gz"), b.Bytes(), 0o644)
}

// writeChecksums lists all files of a folder, for sha256sum --check.
func writeChecksums(dir string) error {
	const name = "SHA256SUMS"
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return err
	}
	var sums bytes.Buffer
	for _, entry := range entries {
		if entry.IsDir() || entry.Name() == name {
			continue
		}
		f, err := os.Open(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		hash := sha256.New()
		_, err = io.Copy(hash, f)
		f.Close()
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", hash.Sum(nil), entry.Name())
	}
	return os.WriteFile(filepath.Join(dir, name), sums.Bytes(), 0o644)
}
