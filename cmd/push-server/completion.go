package main

import (
	"slices"

	"github.com/spf13/cobra"
)

// addCompletion adds cobra's command completion, once all others and the output of root are set. Its errors of the command line are told
// as everywhere else.
func addCompletion(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		if cmd.ValidArgsFunction == nil {
			cmd.ValidArgsFunction = cobra.NoFileCompletions // arguments are no files, but --config is
		}
	}
	root.ValidArgsFunction = cobra.NoFileCompletions
	root.InitDefaultCompletionCmd()
	commands := root.Commands()
	completion := commands[slices.IndexFunc(commands, func(c *cobra.Command) bool { return c.Name() == "completion" })]
	completion.Short = "Print the script that completes commands and flags in a shell"
	completion.Long = "Print the script that completes commands and flags in bash, zsh or fish. The help of each says how to load it."
	completion.Example = `  push-server completion bash >/etc/bash_completion.d/push-server
  push-server completion zsh >/usr/share/zsh/site-functions/_push-server
  push-server completion fish >/etc/fish/completions/push-server.fish`
	for _, shell := range completion.Commands() {
		if shell.Name() == "powershell" {
			completion.RemoveCommand(shell)
		}
		shell.Args = noArguments
	}
}
