package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"push-server/bench"
	"push-server/bench/proc"
	"push-server/bench/result"
	"push-server/bench/target"
)

func listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List scenarios and kinds of servers",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, s := range bench.Scenarios {
				fmt.Fprintf(t, "%s\t%d connections\t%s\n", s.Name, s.Defaults.N, s.Doc)
			}
			fmt.Fprintln(t)
			for _, kind := range target.Kinds {
				fmt.Fprintf(t, "%s\n", kind)
			}
			return t.Flush()
		},
	}
}

func runCommand() *cobra.Command {
	var server serverFlags
	var params paramFlags
	var kinds, against []string
	var reps int
	cmd := &cobra.Command{
		Use:   "run SCENARIO…",
		Short: "Run scenarios",
		Example: `  push-bench run fanout --n 1000,10000 --reps 5
  push-bench run unique --against node --time 10s
  push-bench run connect unique --against ../old/bin/push-server --reps 5
  push-bench run idle --n 100000 --processes 6
  push-bench run poll --target external --sub 127.0.0.1:8010 --pub 127.0.0.1:9010 --key SECRET --pid 4711`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			field, err := server.field(kinds, against)
			if err != nil {
				return err
			}
			jobs, err := jobsOf(args, field, reps, &params)
			if err != nil {
				return err
			}
			return measure(cmd, &server, jobs, field.pairs)
		},
	}
	server.register(cmd.Flags(), "")
	server.external.register(cmd.Flags())
	params.register(cmd.Flags())
	cmd.Flags().StringSliceVar(&kinds, "target", []string{target.PushServer}, "kinds of servers, see list")
	registerAgainst(cmd.Flags(), &against)
	cmd.Flags().IntVar(&reps, "reps", 1, "repetitions, each with a fresh server")
	return cmd
}

// jobsOf makes the jobs: repetitions outermost, servers innermost, so that what is compared runs at about the same time; who is first
// changes with each repetition.
func jobsOf(names []string, f *field, reps int, params *paramFlags) (jobs []bench.Job, err error) {
	ns := params.ns
	if len(ns) == 0 {
		ns = []int{0}
	}
	for rep := range reps {
		for _, name := range names {
			s, err := bench.FindScenario(name)
			if err != nil {
				return nil, err
			}
			for _, n := range ns {
				for _, o := range f.inTurn(rep) {
					if !s.Can(o.Kind) {
						continue
					}
					p := params.p
					p.N = n
					jobs = append(jobs, bench.Job{Scenario: s, Target: o, Params: p, Rep: rep})
				}
			}
		}
	}
	return jobs, nil
}

func suiteCommand() *cobra.Command {
	var server serverFlags
	var against []string
	cmd := &cobra.Command{
		Use:   "suite smoke|quick|full",
		Short: "Run all scenarios",
		Long: `Run all scenarios:
  smoke  with few connections, in about a minute; fails when a ratio is far from what it should be
  quick  once, in about ten minutes
  full   several times, with growing numbers of connections, and against other servers, in an hour and a half`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"smoke", "quick", "full"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "full" && !cmd.Flags().Changed("against") {
				against = []string{target.PushServerMemory, target.Node, target.Nchan, target.NchanRedis, target.CentrifugoRedis}
			}
			field, err := server.field([]string{target.PushServer}, against)
			if err != nil {
				return err
			}
			switch args[0] {
			case "smoke":
				server.out = ""
				return measure(cmd, &server, bench.Smoke(field.servers[0]), nil, result.Gates...)
			case "quick":
				return measure(cmd, &server, bench.Quick(field.servers...), field.pairs)
			}
			return measure(cmd, &server, bench.Full(field.servers[0], field.servers[1:]), field.pairs)
		},
	}
	server.register(cmd.Flags(), "bench/results")
	registerAgainst(cmd.Flags(), &against)
	return cmd
}

// measure runs the jobs, writes the results and their report, says where they are, compares the pairs, and holds all against the gates.
func measure(cmd *cobra.Command, server *serverFlags, jobs []bench.Job, pairs []pair, gates ...result.Gate) error {
	stderr := cmd.ErrOrStderr()
	file := &result.File{Revision: revision(), Date: today(), Command: commandLine(os.Args[1:]), Machine: proc.Here()}
	runner := &bench.Runner{Fleet: server.fleet(), Lines: cmd.OutOrStdout(), Progress: bench.NewProgress(stderr, isTerminal(stderr))}
	var err error
	file.Runs, err = runner.Run(cmd.Context(), jobs)
	if len(file.Runs) > 0 && server.out != "" {
		path, e := file.Write(server.out)
		if e != nil {
			return e
		}
		fmt.Fprintln(stderr, "results:", path)
		if e := writeReport(stderr, file, path); e != nil {
			return e
		}
	}
	for _, p := range pairs {
		if e := result.WriteRatios(stderr, file, p.ours, p.other); e != nil {
			return e
		}
	}
	if err != nil && cmd.Context().Err() != nil {
		return context.Canceled
	}
	if err == nil && len(file.Failed()) > 0 {
		return fmt.Errorf("%w: %d of %d failed", errFailed, len(file.Failed()), len(file.Runs))
	}
	if err != nil {
		return err
	}
	return result.CheckGates(file, gates)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	s, err := f.Stat()
	return err == nil && s.Mode()&os.ModeCharDevice != 0
}
