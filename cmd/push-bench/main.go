// Command push-bench measures push servers. See bench/README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"push-server/bench/load"
)

// errFailed is returned when a run has failed; what failed has been printed.
var errFailed = errors.New("not all runs count")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "push-bench:", err)
		os.Exit(1)
	}
}

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	root := &cobra.Command{
		Use:   "push-bench",
		Short: "Measures push servers",
		Long: `Measures push servers: starts a server for each scenario, loads it with client processes, and checks every message.
A run in which a message is lost, doubled, reordered, damaged or misrouted has failed.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(listCommand(), runCommand(), suiteCommand(), reportCommand(), tableCommand(), compareCommand(), workerCommand())
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return root.ExecuteContext(ctx)
}

func workerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "worker",
		Short:  "Serve as a client process of another push-bench",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return load.ServeWorker(cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}
