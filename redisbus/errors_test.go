package redisbus

import "testing"

// Before version 7, Redis puts what a command of a script has failed with at the end of a sentence.
func TestCodeInScript(t *testing.T) {
	f := func(text string, want bool) {
		t.Helper()
		if got := codeInScript.MatchString(text); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	const begin = "Error running script (call to f_0123456789abcdef0123456789abcdef01234567): @user_script:20: @user_script: 20: "
	f(begin+"-READONLY You can't write against a read only replica.", true)
	f(begin+"-OOM command not allowed when used memory > 'maxmemory'.", true)
	f(begin+"WRONGTYPE Operation against a key holding the wrong kind of value", true)
	f(begin+"Unknown Redis command called from Lua script", false)
	f("Error compiling script (new function): user_script:1: unexpected symbol near 'READONLY '", false)
}
