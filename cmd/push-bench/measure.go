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
	var kinds []string
	var reps int
	cmd := &cobra.Command{
		Use:   "run SCENARIO…",
		Short: "Run scenarios",
		Example: `  push-bench run fanout --n 1000,10000 --reps 5
  push-bench run unique --target push-server,node --time 10s
  push-bench run idle --n 100000 --processes 6
  push-bench run poll --target external --sub 127.0.0.1:8010 --pub 127.0.0.1:9010 --key SECRET --pid 4711`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			jobs, err := jobsOf(args, kinds, reps, &params, &server)
			if err != nil {
				return err
			}
			return measure(cmd, &server, jobs)
		},
	}
	server.register(cmd.Flags(), "")
	server.external.register(cmd.Flags())
	params.register(cmd.Flags())
	cmd.Flags().StringSliceVar(&kinds, "target", []string{target.PushServer}, "kinds of servers, see list")
	cmd.Flags().IntVar(&reps, "reps", 1, "repetitions, each with a fresh server")
	return cmd
}

// jobsOf makes the jobs: repetitions outermost, servers innermost, so that what is compared runs at about the same time.
func jobsOf(names, kinds []string, reps int, params *paramFlags, server *serverFlags) (jobs []bench.Job, err error) {
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
				for _, kind := range kinds {
					o, err := server.options(kind)
					if err != nil {
						return nil, err
					}
					if !s.Can(kind) {
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
	var peers []string
	cmd := &cobra.Command{
		Use:   "suite smoke|quick|full",
		Short: "Run all scenarios",
		Long: `Run all scenarios:
  smoke  with few connections, in about a minute; fails when a ratio is far from what it should be
  quick  once, in about ten minutes
  full   several times, with growing numbers of connections, and against other servers, in about an hour`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"smoke", "quick", "full"},
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := server.options(target.PushServer)
			if err != nil {
				return err
			}
			switch args[0] {
			case "smoke":
				server.out = ""
				return measure(cmd, &server, bench.Smoke(o), result.Gates...)
			case "quick":
				return measure(cmd, &server, bench.Quick(o))
			}
			return measure(cmd, &server, bench.Full(o, peers))
		},
	}
	server.register(cmd.Flags(), "bench/results")
	cmd.Flags().StringSliceVar(&peers, "against", []string{target.Node, target.Nchan, target.NchanRedis}, "other servers of the full suite")
	return cmd
}

// measure runs the jobs, writes the results and their report, says where they are, and holds them against the gates.
func measure(cmd *cobra.Command, server *serverFlags, jobs []bench.Job, gates ...result.Gate) error {
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
