package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"push-server/bench/report"
	"push-server/bench/result"
)

func reportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "report RESULTS.json…",
		Short: "Write the HTML report with its plots beside each file of results",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, path := range args {
				f, err := result.Read(path)
				if err != nil {
					return err
				}
				if err := writeReport(cmd.OutOrStdout(), f, path); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func writeReport(out io.Writer, f *result.File, path string) error {
	base := strings.TrimSuffix(path, ".json")
	if err := report.Write(f, base); err != nil {
		return err
	}
	fmt.Fprintf(out, "report: %s.html\n", base)
	return nil
}

func tableCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "table RESULTS.json",
		Short: "Print the targets and what was reached, as Markdown",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := result.Read(args[0])
			if err != nil {
				return err
			}
			return report.WriteTable(cmd.OutOrStdout(), f)
		},
	}
}

func compareCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "benchcmp OLD.json NEW.json",
		Short: "Compare two files of results",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			old, err := result.Read(args[0])
			if err != nil {
				return err
			}
			fresh, err := result.Read(args[1])
			if err != nil {
				return err
			}
			return result.WriteComparison(cmd.OutOrStdout(), result.Compare(old, fresh))
		},
	}
}
