package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"push-server/configs"
	"push-server/engine"
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
	if c != nil {
		problems = append(problems, c.Exposed(configs.Interfaces())...)
	}
	faults := 0
	for _, p := range problems {
		fmt.Fprintln(w, p)
		if p.Severity == configs.Error {
			faults++
		}
	}
	if faults > 0 {
		return fmt.Errorf("%s, %s", count(faults, "error"), count(len(problems)-faults, "warning"))
	}
	if err := tryOut(c); err != nil {
		fmt.Fprintf(w, "%s: error: %v\n", c.File, err)
		return fmt.Errorf("1 error, %s", count(len(problems), "warning"))
	}
	for _, s := range c.Servers {
		printListener(w, &s, s.Address)
	}
	fmt.Fprintf(w, "%s: no error, %s\n", c.File, count(len(problems), "warning"))
	return nil
}

// tryOut makes what serve makes, as far as it opens nothing: certificates, the bus, the engine.
func tryOut(c *configs.Config) error {
	if !slices.ContainsFunc(c.Servers, func(s configs.Server) bool { return s.Routes != configs.Routes{} }) {
		return errors.New("no listener has a route: every request would be answered 404")
	}
	log := slog.New(slog.DiscardHandler)
	s := &server{config: c, log: log, logs: &logs{log: log}}
	if err := s.openTLS(); err != nil {
		return err
	}
	if err := checkFolder(c.Debug.FolderName); err != nil {
		return fmt.Errorf("debug.folderName: %w", err)
	}
	var err error
	if s.bus, err = newBus(c, log, nil); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	defer s.bus.Close()
	if _, err := engine.New(engineOptions(s), s.bus); err != nil {
		return err
	}
	return nil
}

// checkFolder says why a folder cannot be made, without making it. Whether one may write there shows only to the user who serves.
func checkFolder(dir string) error {
	if dir == "" {
		return nil
	}
	path, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for {
		info, err := os.Stat(path)
		if err == nil && !info.IsDir() {
			return fmt.Errorf("%s is not a folder", path)
		}
		above := filepath.Dir(path)
		if err == nil || above == path {
			return nil
		}
		path = above
	}
}

func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
