// Package cloudwatch ships batches of the audit trail into Amazon CloudWatch Logs, or a server that speaks its API.
//
// Flow: ship.Batch -> pieces within the bounds of PutLogEvents -> one log stream for each writer, made when it is missing.
//
// CloudWatch keeps what it is given twice if a batch comes twice; a line's number and hash tell the copies apart from forgeries.
package cloudwatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"millrace/secure/ship"
	"millrace/secure/trail"
)

// ErrURL: the address is not cloudwatch://GROUP[?region=R&endpoint=URL].
var ErrURL = errors.New("cloudwatch: bad address")

// Bounds of one PutLogEvents: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html.
const (
	maxEvents     = 10_000
	maxBytes      = 1 << 20
	eventOverhead = 26
)

// Sink writes into one log group. Safe for concurrent use.
type Sink struct {
	client *cloudwatchlogs.Client
	group  string
	prefix string
	log    *slog.Logger
}

// Open reads an address, cloudwatch://GROUP[?region=R&endpoint=URL&prefix=P], and gets credentials and region from the environment as the AWS SDKs do.
// Log streams are named by the prefix and the writer. Nothing is sent yet. log is told of lines that the group refuses for good.
func Open(ctx context.Context, address string, log *slog.Logger) (*Sink, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	group := strings.TrimSuffix(u.Host+u.Path, "/")
	if u.Scheme != "cloudwatch" || group == "" {
		return nil, fmt.Errorf("%w: %q: use cloudwatch://GROUP?region=REGION", ErrURL, address)
	}
	q := u.Query()
	for key := range q {
		if key != "region" && key != "endpoint" && key != "prefix" {
			return nil, fmt.Errorf("%w: %q is none of region, endpoint and prefix", ErrURL, key)
		}
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("cloudwatch: %w", err)
	}
	client := cloudwatchlogs.NewFromConfig(cfg, func(o *cloudwatchlogs.Options) {
		if region := q.Get("region"); region != "" {
			o.Region = region
		}
		if endpoint := q.Get("endpoint"); endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})
	return &Sink{client: client, group: group, prefix: q.Get("prefix"), log: log}, nil
}

// Put sends the batch. The group must exist; streams are made.
func (s *Sink) Put(ctx context.Context, b ship.Batch) error {
	for _, piece := range pieces(b.Entries) {
		if err := s.send(ctx, b.Writer, piece); err != nil {
			return err
		}
	}
	return nil
}

// pieces cuts entries to what one call may have, in the order of time, which the API asks for.
func pieces(entries []trail.Entry) [][]types.InputLogEvent {
	var all [][]types.InputLogEvent
	var piece []types.InputLogEvent
	size := 0
	latest := int64(0)
	for _, e := range entries {
		at := max(e.Time.UnixMilli(), latest) // a clock that was set back
		latest = at
		bytes := len(e.Raw) + eventOverhead
		day := len(piece) > 0 && at-*piece[0].Timestamp >= 24*60*60*1000
		if len(piece) == maxEvents || size+bytes > maxBytes || day {
			all, piece, size = append(all, piece), nil, 0
		}
		piece = append(piece, types.InputLogEvent{Message: aws.String(string(e.Raw)), Timestamp: aws.Int64(at)})
		size += bytes
	}
	return append(all, piece)
}

func (s *Sink) send(ctx context.Context, writer string, events []types.InputLogEvent) error {
	stream := s.prefix + writer
	in := &cloudwatchlogs.PutLogEventsInput{LogGroupName: &s.group, LogStreamName: &stream, LogEvents: events}
	out, err := s.client.PutLogEvents(ctx, in)
	if _, missing := errors.AsType[*types.ResourceNotFoundException](err); missing {
		_, made := s.client.CreateLogStream(ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: &s.group, LogStreamName: &stream})
		if _, exists := errors.AsType[*types.ResourceAlreadyExistsException](made); made != nil && !exists {
			return fmt.Errorf("make log stream %s in group %s: %w", stream, s.group, made)
		}
		out, err = s.client.PutLogEvents(ctx, in)
	}
	if err != nil {
		return fmt.Errorf("put into log group %s: %w", s.group, err)
	}
	if r := out.RejectedLogEventsInfo; r != nil { // sending them again would not help
		s.log.Error("log group refused lines of the audit trail for their age", "group", s.group, "stream", stream,
			"too_old", aws.ToInt32(r.TooOldLogEventEndIndex), "expired", aws.ToInt32(r.ExpiredLogEventEndIndex), "too_new", aws.ToInt32(r.TooNewLogEventStartIndex))
	}
	return nil
}
