package kerr

import (
	"errors"
	"strconv"
)

// Code is an error code of the Kafka protocol. The zero value is None.
type Code int16

// Known reports whether c is a code of the table.
func (c Code) Known() bool { return c >= -1 && int(c)+1 < len(table) }

// Name returns the protocol's name, such as "NOT_COORDINATOR", or "CODE_n" for an unknown code.
func (c Code) Name() string {
	if !c.Known() {
		return "CODE_" + strconv.Itoa(int(c))
	}
	return table[c+1].name
}

// Message returns one clause that says what the code means; it is empty for an unknown code.
func (c Code) Message() string {
	if !c.Known() {
		return ""
	}
	return table[c+1].message
}

// Retriable reports whether a client may send the same request again. Unknown codes are not retriable.
func (c Code) Retriable() bool { return c.Known() && table[c+1].retriable }

// Error returns the name and the message. None is an error value too, so return Err() where nil must mean success.
func (c Code) Error() string {
	if m := c.Message(); m != "" {
		return c.Name() + ": " + m
	}
	return c.Name()
}

// Err returns c as an error, or nil for None.
func (c Code) Err() error {
	if c == None {
		return nil
	}
	return c
}

// Of returns the Code that err is or wraps: None for nil, and UnknownServerError if there is no Code in it.
func Of(err error) Code {
	if err == nil {
		return None
	}
	var c Code
	if errors.As(err, &c) {
		return c
	}
	return UnknownServerError
}
