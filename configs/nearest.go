package configs

import "strings"

// Nearest returns the candidate that name most likely stands for, or "" when none is near.
func Nearest(name string, candidates []string) string {
	for _, c := range candidates {
		if abbreviates(name, c) || abbreviates(c, name) {
			return c
		}
	}
	best, bound := "", len(name)/3+2
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < bound {
			best, bound = c, d
		}
	}
	return best
}

// abbreviates says whether short is the beginning of long, and enough of it.
func abbreviates(short, long string) bool {
	const enough = 3
	return len(short) >= enough && len(short) < len(long) && strings.EqualFold(short, long[:len(short)])
}

// distance is the number of bytes to insert, remove or replace that makes a of b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
