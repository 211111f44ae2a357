package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"push-server/bench/target"
)

// field is who is measured.
type field struct {
	servers []target.Options
	pairs   []pair
}

// pair names two servers in results whose runs are compared.
type pair struct{ ours, other string }

func registerAgainst(fs *pflag.FlagSet, against *[]string) {
	fs.StringSliceVar(against, "against", nil, "other servers, measured in turn and compared: kinds, see list, or the `path` of another program of this project")
}

// field makes the servers of the given kinds, and those that they are measured against. Another program of this project runs as each of the
// kinds that are ours.
func (f *serverFlags) field(kinds, against []string) (*field, error) {
	all := new(field)
	for _, kind := range kinds {
		formats, err := f.options(kind)
		if err != nil {
			return nil, err
		}
		for _, o := range formats[1:] {
			all.pairs = append(all.pairs, pair{o.Label(), formats[0].Label()})
		}
		all.servers = append(all.servers, formats...)
	}
	ours := all.servers
	for _, name := range against {
		if !slices.Contains(target.Kinds, name) {
			if err := all.addProgram(ours, name); err != nil {
				return nil, err
			}
			continue
		}
		others, err := f.options(name)
		if err != nil {
			return nil, err
		}
		all.servers = append(all.servers, others...)
		for _, our := range ours {
			for _, o := range others {
				all.pairs = append(all.pairs, pair{our.Label(), o.Label()})
			}
		}
	}
	return all, nil
}

func (f *field) addProgram(ours []target.Options, path string) error {
	if !strings.Contains(path, "/") {
		return fmt.Errorf("--against %s is no kind of server (%s), and a program needs a path, such as ./%[1]s", path, strings.Join(target.Kinds, ", "))
	}
	for _, o := range ours {
		if !o.IsOurs() {
			continue
		}
		our := o.Label()
		o.Binary, o.Name = path, fmt.Sprintf("%s (%s)", our, path)
		f.servers = append(f.servers, o)
		f.pairs = append(f.pairs, pair{our, o.Name})
	}
	return nil
}

// inTurn are the servers in the order of a repetition: who has always been second may have had a warmer machine.
func (f *field) inTurn(rep int) []target.Options {
	servers := slices.Clone(f.servers)
	if rep%2 == 1 {
		slices.Reverse(servers)
	}
	return servers
}
