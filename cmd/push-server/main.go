// Command push-server is a push server for Bitrix24 portals. See README.md.
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
	"github.com/spf13/pflag"

	"push-server/configs"
)

// Exit codes.
const (
	exitOK         = 0
	exitFailure    = 1
	exitUsage      = 2
	exitUnexpected = 3 // of subscribe --expect

	exitNobody = 3 // of upgrade: there is nobody to ask

	exitIncomparable = 2 // of diff, whose 1 says that something differs
)

// errUsage is what an error of the command line is.
var errUsage = errors.New("wrong command line")

func main() {
	// The server stops in good order at the first signal; after it the default action is back, so that a second one ends it at once.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		last := newConsole()
		fmt.Fprintln(last.to(os.Stderr), lastWords(err))
		last.close()
	}
	os.Exit(exitCode(err))
}

func exitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, errUnexpected):
		return exitUnexpected
	case errors.Is(err, errIncomparable):
		return exitIncomparable
	case errors.Is(err, errNobody):
		return exitNobody
	}
	return exitFailure
}

// run is the whole program but for the process around it. It returns when the command is done; a server is done when ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	root := rootCommand(stdout, stderr)
	root.SetArgs(append([]string{}, args...)) // nil would stand for those of the process
	unknown := helpOnlyForCommands(root)
	cmd, err := root.ExecuteContextC(ctx)
	if err = errors.Join(err, *unknown); errors.Is(err, errUsage) {
		return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
	}
	return err
}

func rootCommand(stdout, stderr io.Writer) *cobra.Command {
	var files []string
	root := &cobra.Command{
		Use:   "push-server --config FILE",
		Short: "Push server for Bitrix24 portals",
		Long: `Push server for Bitrix24 portals. Serves until SIGTERM or SIGINT, then ends in good order.

FILE is a configuration of the Node push server or one with the additions described in docs/configuration.md; a folder stands for all
its files *.json. With several, one process serves them all.

Exit codes: 0 done, 1 failure, 2 wrong command line, 3 subscribe --expect got other messages than it should.`,
		Example:       "  push-server --config configs/standalone.json\n  push-server check --config /etc/push-server",
		Args:          noArguments,
		SilenceUsage:  true,
		SilenceErrors: true,

		SuggestionsMinimumDistance: 2,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), files, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	explicit := &cobra.Command{
		Use: "serve --config FILE", Short: "Serve, as without a command", Long: root.Long, Example: "  push-server serve --config configs/standalone.json",
		Args: noArguments, RunE: root.RunE,
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(flagError(cmd, err)) })
	root.PersistentFlags().StringArrayVar(&files, "config", nil, "configuration `FILE` or folder; may be given several times")
	root.AddCommand(explicit, checkCommand(&files), channelCommand(&files), publishCommand(&files), subscribeCommand(&files), healthCommand(&files),
		statCommand(&files), doctorCommand(&files), whyCommand(&files), diffCommand(&files), drainCommand(&files), upgradeCommand(), manCommand(), versionCommand())
	addCompletion(root)
	return root
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf(" (did you mean %s?)", near[0])
	}
	return usage(fmt.Errorf("unknown command or argument %q%s", args[0], hint))
}

// between takes from least to most arguments; first is what the first one is.
func between(least, most int, first string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usage(fmt.Errorf("%s is missing", first))
		case len(args) > most:
			return usage(fmt.Errorf("unexpected argument %q", args[most]))
		}
		return nil
	}
}

// helpOnlyForCommands has help about a command that does not exist be an error: cobra prints the general help and calls it a success.
func helpOnlyForCommands(root *cobra.Command) *error {
	var unknown error
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if unknown = noArguments(cmd, cmd.Flags().Args()); unknown == nil {
			help(cmd, args)
		}
	})
	root.SetHelpCommand(&cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Print help about a command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err == nil {
				err = noArguments(cmd, rest)
			}
			if err != nil {
				return err
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	})
	return &unknown
}

// usage makes err one of the command line.
func usage(err error) error { return usageError{err} }

type usageError struct{ error }

func (e usageError) Unwrap() error      { return e.error }
func (usageError) Is(target error) bool { return target == errUsage }

// flagError says what may have been meant.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var value *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := configs.Nearest(unknown.GetSpecifiedName(), names); near != "" {
			return fmt.Errorf("%w (did you mean --%s?)", err, near)
		}
	case errors.As(err, &value) && value.GetFlag().Value.Type() == "duration":
		return fmt.Errorf("%w (for example 30s)", err)
	}
	return err
}
