package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"push-server/cmd/push-server/internal/doctor"
	"push-server/configs"
)

func doctorCommand(files *[]string) *cobra.Command {
	var nginx, portal string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor --config FILE [--nginx DIR] [--portal DIR]",
		Short: "Look at an installation, and say what is wrong and which line to change",
		Long: `Look at an installation, and say what is wrong, why it matters, and which line to change: the configuration, limits and settings of this
machine's kernel, the clock, Redis, nginx in front of the server, and the settings of the portal. Nothing is changed, and PHP is never run.

Run it on the machine of the server, as its user. An error is something that fails now, a warning something that fails under load or
later, a note asks for nothing. Each has a short name that stays the same.

Exit codes: 0 nothing found but notes, 1 errors or warnings found, 2 wrong command line.`,
		Example: `  push-server doctor --config configs/standalone.json
  push-server doctor --config /etc/push-server --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in := doctor.Installation{Nginx: nginx, Portal: portal}
			if err := describe(&in, *files); err != nil {
				return err
			}
			return printReport(cmd.OutOrStdout(), in.Examine(cmd.Context()), asJSON)
		},
	}
	cmd.Flags().StringVar(&nginx, "nginx", "", "look at nginx, too: its `DIR`, such as /etc/nginx, or its main file")
	cmd.Flags().StringVar(&portal, "portal", "", "look at the portal, too: its `DIR`, the one with bitrix/.settings.php in it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// describe fills in what the configuration says.
func describe(in *doctor.Installation, files []string) error {
	c, problems, err := readConfiguration(files)
	if err != nil {
		return err
	}
	in.Problems = problems
	if !configs.Valid(problems) {
		return nil
	}
	if err := tryOut(c); err != nil {
		in.Problems = append(problems, configs.Problem{File: c.File, Severity: configs.Error, Text: err.Error()})
		return nil
	}
	in.Config = c
	if c.Storage.Type == configs.StorageRedis {
		o, err := redisOptions(c, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		in.Redis = &o
	}
	return nil
}

func printReport(w io.Writer, r *doctor.Report, asJSON bool) error {
	if asJSON {
		text, err := json.MarshalIndent(r, "", "\t")
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\n", text)
	} else {
		r.Print(w)
	}
	errs, warnings, notes := r.Count(doctor.Error), r.Count(doctor.Warning), r.Count(doctor.Note)
	summary := fmt.Sprintf("%s, %s, %s", count(errs, "error"), count(warnings, "warning"), count(notes, "note"))
	if errs+warnings > 0 {
		return errors.New(summary)
	}
	if !asJSON {
		fmt.Fprintln(w, summary)
	}
	return nil
}
