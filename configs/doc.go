// Package configs turns configuration files, which have the format of the Node push server, into a Config, and says everything
// that is wrong with them at once. The files of this folder are examples that are shipped; a test loads each of them.
//
// Load reads, Join makes one Config of several, Validate looks at a Config that was made by hand. What a key means, its default and
// its bounds stand in one table, options.go; the table of docs/configuration.md is printed from it.
package configs
