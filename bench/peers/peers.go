// Package peers holds the set-ups of other servers that do the same job, to be measured in the same run.
package peers

import _ "embed"

// Nginx is the template of the configuration of nginx with nchan.
//
//go:embed nchan/nginx.conf.tmpl
var Nginx string
