package warden

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine"
)

const metadataVersion = "metadata.version"

// release is the levels of one release of Apache Kafka.
type release struct {
	name   string // MAJOR.MINOR
	levels map[string]int16
}

// releases are those that can be finished, ascending, with what `kafka-storage version-mapping --release-version` says of each. But
// kraft.version stays as the quorum was formatted: it is how voters are listed, and no release needs it.
func releases() []release {
	return []release{
		{"3.7", map[string]int16{metadataVersion: 19}},
		{"3.8", map[string]int16{metadataVersion: 20}},
		{"3.9", map[string]int16{metadataVersion: 21}},
		{"4.0", map[string]int16{metadataVersion: 25, "group.version": 1, "transaction.version": 2}},
		{"4.1", map[string]int16{metadataVersion: 27, "group.version": 1, "transaction.version": 2, "eligible.leader.replicas.version": 1}},
		{"4.2", map[string]int16{
			metadataVersion: 29, "group.version": 1, "transaction.version": 2, "eligible.leader.replicas.version": 1,
			"share.version": 1, "streams.version": 1,
		}},
		{"4.3", map[string]int16{
			metadataVersion: 30, "group.version": 1, "transaction.version": 2, "eligible.leader.replicas.version": 1,
			"share.version": 1, "streams.version": 1,
		}},
	}
}

// Levels are the feature levels that a version of Apache Kafka ("4.1.x", "4.1.2", "4.1") finishes; ok is false for one that is not known.
func Levels(version string) (levels map[string]int16, ok bool) {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	for _, r := range releases() {
		if r.name == major+"."+minor {
			return r.levels, true
		}
	}
	return nil, false
}

// level is what a cluster says of one feature.
type level struct {
	finalized int16 // in force; 0: the feature is off
	most      int16 // that the broker which was asked could do
}

// features asks the broker that read asked for all features.
func (s *session) features(ctx context.Context) (map[string]level, error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "millrace", "1"
	answer, err := request[*kmsg.ApiVersionsResponse](ctx, s.fresh, req)
	if err != nil {
		return nil, err
	}
	levels := map[string]level{}
	for _, f := range answer.SupportedFeatures {
		levels[f.Name] = level{most: f.MaxVersion}
	}
	for _, f := range answer.FinalizedFeatures {
		l := levels[f.Name]
		l.finalized = f.MaxVersionLevel
		levels[f.Name] = l
	}
	return levels, kerr.ErrorForCode(answer.ErrorCode)
}

// Finished tells the feature levels that are in force.
func (w *Warden) Finished(ctx context.Context, c engine.Target) (levels map[string]int16, err error) {
	err = w.with(ctx, c, "ask for the features of", func(s *session) error {
		if _, err := s.read(ctx, 0); err != nil {
			return err
		}
		all, err := s.features(ctx)
		levels = map[string]int16{}
		for name, l := range all {
			levels[name] = l.finalized
		}
		return err
	})
	return levels, err
}

// Finish raises the feature levels to those of a version, after which there is no way back to an earlier one; levels that are higher
// already stay (W6). It may be repeated. ErrRefused: the version is not known, or nodes do not run it: all must, before.
func (w *Warden) Finish(ctx context.Context, c engine.Target, version string) error {
	want, ok := Levels(version)
	if !ok {
		return fmt.Errorf("finish cluster %s: %w: the levels of version %q are not known", c.Cluster, ErrRefused, version)
	}
	return w.with(ctx, c, "finish version "+version+" of", func(s *session) error {
		if _, err := s.read(ctx, 0); err != nil {
			return err
		}
		have, err := s.features(ctx)
		if err != nil {
			return err
		}
		// metadata.version first: others need one.
		first, rest := map[string]int16{}, map[string]int16{}
		for name, l := range want {
			if have[name].finalized >= l {
				continue
			}
			if have[name].most < l {
				return fmt.Errorf("%w: a broker cannot do %s %d, but %d: it runs an older version", ErrRefused, name, l, have[name].most)
			}
			if name == metadataVersion {
				first[name] = l
			} else {
				rest[name] = l
			}
		}
		if err := s.raise(ctx, first); err != nil {
			return err
		}
		return s.raise(ctx, rest)
	})
}

// raise sets feature levels.
func (s *session) raise(ctx context.Context, levels map[string]int16) error {
	if len(levels) == 0 {
		return nil
	}
	req := kmsg.NewPtrUpdateFeaturesRequest()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		f.Feature, f.MaxVersionLevel, f.UpgradeType = name, levels[name], 1
		req.FeatureUpdates = append(req.FeatureUpdates, f)
		names = append(names, name+"="+strconv.Itoa(int(levels[name])))
	}
	answer, err := request[*kmsg.UpdateFeaturesResponse](ctx, s.fresh, req)
	if err != nil {
		return err
	}
	faults := []error{told(answer.ErrorCode, answer.ErrorMessage)}
	for _, r := range answer.Results {
		faults = append(faults, told(r.ErrorCode, r.ErrorMessage))
	}
	switch err := errors.Join(faults...); {
	case errors.Is(err, kerr.InvalidUpdateVersion), errors.Is(err, kerr.FeatureUpdateFailed):
		return fmt.Errorf("%w: %s: %w", ErrRefused, strings.Join(names, ", "), err)
	case err != nil:
		return fmt.Errorf("%s: %w", strings.Join(names, ", "), err)
	}
	return nil
}
