package topics

import (
	"context"
	"errors"
	"fmt"
	"strings"

	franz "github.com/twmb/franz-go/pkg/kerr"

	"millrace/kafka/kerr"
)

// mostSaid bounds what is told of a broker's words.
const mostSaid = 500

// refused is an answer of a broker: its code, and its words where it has more than those of the code. nil: none.
func refused(err error, said string) error {
	if err == nil {
		return nil
	}
	err = withCode(err)
	if said = strings.ToValidUTF8(said, ""); said != "" {
		err = fmt.Errorf("%w: %s", err, said[:min(len(said), mostSaid)])
	}
	return err
}

// withCode has an error hold one of Kafka's codes (T1).
func withCode(err error) error {
	var ours kerr.Code
	var theirs *franz.Error
	switch {
	case err == nil, errors.As(err, &ours):
		return err
	case errors.As(err, &theirs):
		return fmt.Errorf("%w: %w", kerr.Code(theirs.Code), err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", kerr.RequestTimedOut, err)
	default:
		return fmt.Errorf("%w: %w", kerr.NetworkException, err)
	}
}
