package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"push-server/configs"
)

// TestCheckFindsWhereServeFails: what the server cannot be made of is found before it is started.
func TestCheckFindsWhereServeFails(t *testing.T) {
	f := func(storage, want string) {
		t.Helper()
		wantStorageChecked(t, storage, want)
	}
	f(`{"type": "redis", "socket": "redis://portal:s3cret%zz@127.0.0.1:6379"}`, "storage: ")
	f(`{"type": "redis", "socket": "redis://:s3cret@127.0.0.1:26379?addr=127.0.0.1:26380&master_set=portal", "sentinelPassword": "s3cret2"}`, "")
	f(`{"type": "redis", "sentinels": ["one", "two:26380", "[::1]:26380"], "masterName": "portal", "sentinelPassword": "s3cret"}`, "")
	f(`{"type": "redis", "sentinels": ["one"], "masterName": "portal", "password": "s3cret", "tls": {"sentinels": false}}`, "")
	f(`{"type": "redis", "sentinels": ["one"], "masterName": "portal", "host": "two"}`, "storage.host: warning: has no effect")
	f(`{"type": "redis", "sentinels": ["one"]}`, "storage.masterName: error: is missing")
	f(`{"type": "redis", "sentinels": [], "masterName": "portal"}`, "storage.sentinels: error: is empty")
	f(`{"type": "redis", "sentinels": "one", "masterName": "portal"}`, "storage.sentinels: error: must be an array of strings")
	f(`{"type": "redis", "sentinels": ["s3cret@one:26379"], "masterName": "portal"}`, "storage.sentinels[0]: error: is not host:port")
	f(`{"type": "redis", "sentinels": ["redis://one"], "masterName": "portal"}`, "storage.sentinels[0]: error: is not host:port")
	f(`{"type": "redis", "sentinels": ["one"], "masterName": "portal", "socket": "/run/redis.sock"}`, "storage.socket: error: is another address")
	f(`{"type": "redis", "masterName": "portal"}`, "storage.masterName: error: there are no sentinels")
	f(`{"type": "redis", "host": "one", "sentinelPassword": "s3cret"}`, "storage.sentinelPassword: error: there are no sentinels")
	f(`{"type": "redis", "cluster": true, "host": "one"}`, "")
	f(`{"type": "redis", "cluster": "portal", "nodes": ["one", "two:6380"], "password": "s3cret"}`, "")
	f(`{"type": "redis", "cluster": true, "socket": "rediss://portal:s3cret@one:6379?addr=two:6379"}`, "")
	f(`{"type": "redis", "cluster": false, "host": "one"}`, "")
	f(`{"type": "redis", "cluster": 1, "nodes": [], "host": "one"}`, "storage.nodes: error: is empty")
	f(`{"type": "redis", "cluster": "{portal}", "host": "one"}`, "storage.cluster: error: ")
	f(`{"type": "redis", "nodes": ["one"]}`, "storage.nodes: error: are those of a cluster")
	f(`{"type": "redis", "cluster": true, "nodes": ["s3cret@one"]}`, "storage.nodes[0]: error: is not host:port")
	f(`{"type": "redis", "cluster": true, "nodes": ["one"], "host": "two"}`, "storage.host: warning: has no effect")
	f(`{"type": "redis", "cluster": true, "sentinels": ["one"], "masterName": "portal"}`, "storage.cluster: error: a cluster has no sentinels")
	f(`{"type": "redis", "cluster": true, "socket": "redis://one:6379/2"}`, "storage: ")
	f(`{"type": "redis", "cluster": true, "host": "/run/redis.sock"}`, "storage: ")
	f(`{"type": "redis", "socket": "redis://portal:s3cret@127.0.0.1:6379/2"}`, "")
	f(`{"type": "redis", "host": "127.0.0.1:6380"}`, "")
	f(`{"type": "redis", "host": "/run/redis.sock"}`, "")
	f(`{"type": "redis", "socket": "127.0.0.1:6380"}`, "")
	f(`{"type": "redis", "host": "redis://127.0.0.1"}`, "host")
	f(`{"type": "redis", "host": "127.0.0.1:redis"}`, "port")
	f(`{"type": "redis", "socket": "redis://portal:s3cret#1@127.0.0.1:6379"}`, "percent-encoded")
	f(`{"type": "redis", "socket": "portal:s3cret@127.0.0.1:6379"}`, "storage.socket: ")
	f(`{"type": "redis", "socket": "portal:s3cret/@127.0.0.1:6379"}`, "storage.socket: ")
	f(`{"type": "redis", "socket": "s3cret@127.0.0.1:6379"}`, "storage.socket: ")
	f(`{"type": "redis", "socket": "127.0.0.1"}`, "storage.socket: ")
	f(`{"type": "redis", "host": "redis://portal:s3cret@127.0.0.1"}`, "storage.host: ")
	f(`{"type": "redis", "host": "s3cret@127.0.0.1:6379"}`, "storage.host: ")
	f(`{"type": "redis", "socket": "127.0.0.1:6379/2"}`, "storage.socket: ")
	f(`{"type": "redis", "host": "127.0.0.1/2"}`, "host")
	f(`{"type": "redis", "socket": "/run/redis.sock", "host": "redis://127.0.0.1"}`, "")
	f(`{"type": "memory", "socket": "127.0.0.1"}`, "")
	f(`{"type": "redis", "socket": "./run/redis.sock"}`, "")
	f(`{"type": "redis", "socket": "/home/portal@1/redis.sock"}`, "")
	f(`{"type": "redis", "socket": "@redis"}`, "")
	f(`{"type": "redis", "socket": "unix:///home/portal@1/redis.sock"}`, "")
}

// TestCheckOfLogFolder: a folder that cannot be made is found, and none is made.
func TestCheckOfLogFolder(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "push-server.json")
	f := func(folder, want string) {
		t.Helper()
		text := `{"servers": [{"port": 0, "routes": {"sub": "/sub/"}}], "security": {"key": "k"}, "storage": {"type": "memory"}, "debug": {"folderName": "` + folder + `"}}`
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		wantChecked(t, file, want)
	}
	f(file, "debug.folderName: "+file+" is not a folder")
	f(file+"/logs/push", "debug.folderName: "+file+" is not a folder")
	f(dir+"/logs/push", "")
	f(dir, "")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestHostOfRedisWithPort(t *testing.T) {
	f := func(host, want string) {
		t.Helper()
		if _, got := (&configs.Storage{Host: host, Port: 6379}).Addr(); got != want {
			t.Errorf("%s: %s", host, got)
		}
	}
	f("redis", "redis:6379")
	f("redis:6380", "redis:6380")
	f("::1", "[::1]:6379")
	f("[::1]:6380", "[::1]:6380")
	f("[::1]", "[::1]:6379")
	f("/run/redis.sock", "/run/redis.sock")
}

// TestCheckOfNoRoutes: what would answer everybody with 404 is no configuration.
func TestCheckOfNoRoutes(t *testing.T) {
	file := writeFile(t, `{"servers": [{"port": 0, "routes": {}}, {"port": 0}], "security": {"key": "k"}, "storage": {"type": "memory"}}`)
	wantChecked(t, file, "no listener has a route")
}

// wantChecked wants check to print want, and to fail unless that is a warning or empty. It prints no password.
func wantChecked(t *testing.T, file, want string) {
	t.Helper()
	var out bytes.Buffer
	err := check([]string{file}, &out)
	wanted := want != "" && !strings.Contains(want, "warning: ")
	if failed := err != nil; failed != wanted || !strings.Contains(out.String(), want) || strings.Contains(out.String(), "s3cret") {
		text, _ := os.ReadFile(file)
		t.Errorf("%s: %v\n%s", text, err, out.String())
	}
}

// wantStorageChecked is wantChecked for a section storage.
func wantStorageChecked(t *testing.T, storage, want string) {
	t.Helper()
	text := `{"servers": [{"port": 0, "routes": {"sub": "/sub/", "pub": "/pub/"}}], "security": {"key": "k"}, "storage": ` + storage + `}`
	wantChecked(t, writeFile(t, text), want)
}
