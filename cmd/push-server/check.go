package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"push-server/configs"
)

func checkCommand(files *[]string) *cobra.Command {
	return &cobra.Command{
		Use:     "check --config FILE",
		Short:   "Print everything that is wrong with a configuration, and what it would serve",
		Example: "  push-server check --config /etc/push-server",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return check(*files, cmd.OutOrStdout())
		},
	}
}

// check prints all problems and returns an error if the server would not start.
func check(files []string, w io.Writer) error {
	c, problems, err := readConfiguration(files)
	if err != nil {
		return err
	}
	errors := 0
	for _, p := range problems {
		fmt.Fprintln(w, p)
		if p.Severity == configs.Error {
			errors++
		}
	}
	if errors > 0 {
		return fmt.Errorf("%s, %s", count(errors, "error"), count(len(problems)-errors, "warning"))
	}
	for _, s := range c.Servers {
		printListener(w, &s, s.Address)
	}
	fmt.Fprintf(w, "%s: no error, %s\n", c.File, count(len(problems), "warning"))
	return nil
}

func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
