package redisbus

import (
	"crypto/sha1"
	_ "embed"
	"encoding/hex"

	"github.com/redis/rueidis"
)

var (
	//go:embed scripts/publish.lua
	publishSource string
	//go:embed scripts/echo.lua
	echoSource string
	//go:embed scripts/users.lua
	usersSource string
)

// scripts are the scripts with their hashes.
type scripts struct {
	publish script
	echo    *rueidis.Lua
	users   *rueidis.Lua
}

// script is called by its hash in pipelines, which cannot fall back to the source by themselves: the first call of a pipeline after Redis
// has forgotten it is with the source. SCRIPT LOAD is not needed, and not allowed to everybody.
type script struct {
	source, hash string
}

func newScripts() scripts {
	return scripts{publish: newScript(publishSource), echo: rueidis.NewLuaScript(echoSource), users: rueidis.NewLuaScript(usersSource)}
}

func newScript(source string) script {
	sum := sha1.Sum([]byte(source))
	return script{source: source, hash: hex.EncodeToString(sum[:])}
}
