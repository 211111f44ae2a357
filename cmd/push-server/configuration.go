package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"push-server/configs"
)

// configuration reads files into one Config and prints every problem to w.
func configuration(files []string, w io.Writer) (*configs.Config, error) {
	return loadConfiguration(files, w, configs.Warning)
}

// clientConfiguration is configuration for commands that talk to a server: they print errors only, since warnings are for whoever
// serves.
func clientConfiguration(files []string, w io.Writer) (*configs.Config, error) {
	return loadConfiguration(files, w, configs.Error)
}

func loadConfiguration(files []string, w io.Writer, least configs.Severity) (*configs.Config, error) {
	c, problems, err := readConfiguration(files)
	if err != nil {
		return nil, err
	}
	if c != nil {
		problems = append(problems, c.Exposed(configs.Interfaces())...)
	}
	for _, p := range problems {
		if p.Severity >= least {
			fmt.Fprintln(w, p)
		}
	}
	if !configs.Valid(problems) {
		return nil, errors.New("the configuration has errors")
	}
	return c, nil
}

var errNoConfiguration = errors.New("no configuration: give --config FILE, or PUSH_SUB_MODE=sub, PUSH_PUB_MODE=pub or both in the environment")

// readConfiguration reads files, or the environment where none is named. It returns a Config only if the problems are valid.
func readConfiguration(files []string) (*configs.Config, []configs.Problem, error) {
	if len(files) == 0 {
		c, problems, ok := configs.Environment(os.LookupEnv)
		if !ok {
			return nil, nil, usage(errNoConfiguration)
		}
		return c, problems, nil
	}
	all, problems := configs.Load(files...)
	if !configs.Valid(problems) {
		return nil, problems, nil
	}
	c, conflicts := configs.Join(all)
	return c, append(problems, conflicts...), nil
}
