// Package bench holds the scenarios that the push server is judged by, and runs them: each against a freshly started server, by a
// fleet of client processes (package load), with every message checked. README.md tells how to run it and how to read what comes
// out.
package bench
