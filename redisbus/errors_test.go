package redisbus

import "testing"

// Who runs a script and may not do what it does is told so in other words by each version, always without a code. The publication is to be
// tried again: an operator can change it.
func TestForbiddenInScript(t *testing.T) {
	const end = " script: 9523bba3e63f99066e2ac6da4ba70c0ef869d187, on @user_script:1."
	for _, text := range []string{
		"The user executing the script can't run this command or subcommand", // 7.0
		"The user executing the script can't access at least one of the keys mentioned in the command arguments",
		"The user executing the script can't publish to the channel mentioned in the command",
		"ACL failure in script: User portal has no permissions to run the 'publish' command", // 7.2, 8.0 and Valkey
		"ACL failure in script: No permissions to access a key",
		"ACL failure in script: No permissions to access a channel",
	} {
		if !saysForbidden(text + end) {
			t.Errorf("%q says nothing of rights", text)
		}
	}
}

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
