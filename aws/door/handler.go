package door

import "errors"

// ErrConfig: a Handler cannot be made of what it was given.
var ErrConfig = errors.New("door: not a valid configuration")
