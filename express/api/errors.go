package api

import (
	"millrace/express/api/codes"
	"millrace/kafka/kerr"
)

// say returns an error that is code, with Kafka's own words, which its tools print.
func say(code kerr.Code, format string, args ...any) error { return codes.Say(code, format, args...) }

func (a *API) code(err error) kerr.Code {
	code := codes.Of(a.log, err)
	a.metrics.failed(code)
	return code
}
