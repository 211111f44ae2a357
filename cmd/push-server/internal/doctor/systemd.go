package doctor

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// unit is a service of systemd that runs this server.
type unit struct {
	file  string
	line  int
	limit int64 // LimitNOFILE, the greatest value; 0: it is not given
}

// infinite is what systemd takes for fs.nr_open.
const infinite = math.MaxInt64

func (u *unit) where() string { return fmt.Sprintf("%s:%d", u.file, u.line) }

// unitFolders are those of systemd, the first one goes before the others.
var unitFolders = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// units are the services that run push-server, each as the first folder has it, with its drop-ins.
func (x *examination) units() (units []unit) {
	seen := map[string]bool{}
	for _, folder := range unitFolders {
		files, _ := filepath.Glob(x.path(filepath.Join(folder, "push-server*.service")))
		for _, file := range files {
			name := filepath.Base(file)
			real, err := filepath.EvalSymlinks(file)
			if err != nil || seen[name] || seen[filepath.Base(real)] {
				continue
			}
			seen[name], seen[filepath.Base(real)] = true, true
			u := unit{file: file}
			if !u.read(file) {
				continue
			}
			x.dropIns(&u, name)
			units = append(units, u)
		}
	}
	return units
}

func (x *examination) dropIns(u *unit, name string) {
	var files []string
	for _, folder := range unitFolders {
		some, _ := filepath.Glob(x.path(filepath.Join(folder, name+".d", "*.conf")))
		files = append(files, some...)
	}
	slices.SortFunc(files, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	for _, file := range files {
		u.read(file)
	}
}

// read takes what a file says, and answers whether it could be read.
func (u *unit) read(file string) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	line := 0
	for text := range strings.Lines(string(text)) {
		line++
		value, ok := strings.CutPrefix(strings.TrimSpace(text), "LimitNOFILE=")
		if !ok {
			continue
		}
		_, hard, isPair := strings.Cut(value, ":")
		if !isPair {
			hard = value
		}
		u.file, u.line = file, line
		if u.limit, err = strconv.ParseInt(hard, 10, 64); err != nil {
			u.limit = infinite
		}
	}
	return true
}
