package kerr

import (
	"errors"
	"fmt"
	"testing"

	franz "github.com/twmb/franz-go/pkg/kerr"
)

// renamed are codes to which franz-go gives an older name than the protocol does.
var renamed = map[Code]string{NotLeaderOrFollower: "NOT_LEADER_FOR_PARTITION"}

// otherRetriable are codes whose retriability the Java client and franz-go see differently; we follow the Java client.
var otherRetriable = map[Code]bool{BrokerNotAvailable: true, ShareSessionNotFound: true, InvalidShareSessionEpoch: true}

func TestTableAgreesWithFranz(t *testing.T) {
	for code := Code(-1); code.Known(); code++ {
		if code == None {
			continue
		}
		other := franz.TypedErrorForCode(int16(code))
		if other.Code != int16(code) {
			t.Errorf("%d: franz-go does not know it", code)
			continue
		}
		name := code.Name()
		if old, ok := renamed[code]; ok {
			name = old
		}
		if name != other.Message {
			t.Errorf("%d is %s here, %s there", code, name, other.Message)
		}
		if code.Retriable() != other.Retriable && !otherRetriable[code] {
			t.Errorf("%s: retriable %v here, %v there", name, code.Retriable(), other.Retriable)
		}
	}
	if next := int16(len(table) - 1); franz.TypedErrorForCode(next) != franz.UnknownServerError {
		t.Errorf("franz-go knows code %d, the table ends before it", next)
	}
}

func TestNumbers(t *testing.T) {
	for code, want := range map[Code]int16{
		UnknownServerError: -1, None: 0, NotLeaderOrFollower: 6, InvalidRecord: 87, UnknownTopicID: 100,
		InconsistentTopicID: 103, FencedMemberEpoch: 110, StaleMemberEpoch: 113, RebootstrapRequired: 129,
	} {
		if int16(code) != want {
			t.Errorf("%s is %d, want %d", code.Name(), int16(code), want)
		}
	}
}

func TestNoGaps(t *testing.T) {
	for code := Code(-1); code.Known(); code++ {
		if code.Name() == "" || code.Message() == "" {
			t.Errorf("code %d has no entry", int16(code))
		}
	}
}

func TestUnknownCode(t *testing.T) {
	for _, c := range []Code{-2, 32767, Code(len(table) - 1)} {
		if c.Known() || c.Retriable() || c.Message() != "" || c.Error() == "" {
			t.Errorf("%d: %v", int16(c), c)
		}
	}
}

func TestOf(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want Code
	}{
		{nil, None},
		{NotCoordinator, NotCoordinator},
		{fmt.Errorf("join group: %w", RebalanceInProgress), RebalanceInProgress},
		{errors.New("disk on fire"), UnknownServerError},
	} {
		if got := Of(tc.err); got != tc.want {
			t.Errorf("Of(%v) = %s, want %s", tc.err, got.Name(), tc.want.Name())
		}
	}
	if None.Err() != nil || !errors.Is(InvalidRecord.Err(), InvalidRecord) {
		t.Error("Err")
	}
}
