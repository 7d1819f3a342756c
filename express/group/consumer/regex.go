package consumer

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"millrace/express/group/modern"
	"millrace/kafka/kerr"
)

// regexPause is the least time between two looks at all topics (as in Kafka).
const regexPause = 10 * time.Second

// regexChange says what a heartbeat did to the member's regular expression.
type regexChange int8

const (
	regexSame     regexChange = iota
	regexNew                  // nobody knows yet what it matches
	regexResolved             // what it matches is known, or it is gone
)

// updateRegex follows a member that changed its regular expression, and decides whether all of the group's have to be
// resolved anew. They are resolved together, so that there is one rebalance for all.
func (o *operation) updateRegex(member, updated *Member) (regexChange, error) {
	change := regexSame
	was, is := member.regex(), updated.regex()
	needed := false
	if was != is { // no expression and an empty one are the same
		change = regexNew
		if was != "" && o.regexMembers(was) == 1 {
			o.Add(tombstone{kindRegex, was})
			o.forget(was)
		}
		_, known := o.resolved[is]
		switch {
		case is != "" && o.regexMembers(is) == 0:
			if err := checkRegex(is, o.Config.MaxRegexBytes); err != nil {
				return change, err
			}
			needed = true
		case is != "" && known, is == "" && was != "":
			change = regexResolved
		}
	}
	all := o.regexes()
	if len(all) == 0 {
		return change, nil
	}
	last, resolved := o.lastResolved()
	if resolved && !o.Now.After(last.Add(regexPause)) {
		return change, nil
	}
	o.Refresh = needed || len(all) != len(o.Group.resolved) || o.regexVersion != o.Topics.TopicsVersion() ||
		o.Now.After(last.Add(o.Config.RegexRefresh))
	return change, nil
}

// regexes are the regular expressions of the draft's members, ascending.
func (d *draft) regexes() []string {
	all := map[string]bool{}
	for m := range d.each() {
		if regex := m.regex(); regex != "" {
			all[regex] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// lastResolved is when the group's regular expressions were resolved; false if none was.
func (g *Group) lastResolved() (time.Time, bool) {
	for _, r := range g.resolved {
		return time.UnixMilli(r.Timestamp), true // all are resolved together
	}
	return time.Time{}, false
}

// checkRegex refuses what cannot be compiled.
func checkRegex(regex string, most int) error {
	var err error
	if len(regex) > most {
		err = fmt.Errorf("%d bytes, at most %d are allowed", len(regex), most)
	} else {
		_, err = compile(regex)
	}
	if err != nil {
		return &modern.Error{Code: kerr.InvalidRegularExpression,
			Text: fmt.Sprintf("SubscribedTopicRegex `%s` is not a valid regular expression: %s.", regex, err)}
	}
	return nil
}

// compile makes an expression that must match a whole name.
func compile(regex string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(regex); err != nil { // alone: what closes a parenthesis too much is an error
		return nil, err
	}
	return regexp.Compile(`\A(?:` + regex + `)\z`)
}

// Refresh resolves all regular expressions of the group, after a change that asked for it.
func (g *Group) Refresh(e Env) Change {
	o := g.begin(e)
	version := e.Topics.TopicsVersion() // first: what changes after is seen the next time
	found := map[string]Resolved{}
	for _, regex := range o.regexes() {
		r := Resolved{Version: version, Timestamp: e.Now.UnixMilli()}
		if re, err := compile(regex); err == nil {
			r.Topics = o.matches(re)
		}
		found[regex] = r
	}
	o.resolved = maps.Clone(o.resolved)
	bump := false
	for _, regex := range slices.Sorted(maps.Keys(found)) {
		r := found[regex]
		bump = bump || !slices.Equal(r.Topics, o.resolved[regex].Topics)
		o.resolved[regex] = r
		o.Add(regexRecord{regex, r})
	}
	hash := o.hashNow()
	if bump || hash != o.hash {
		o.epoch++
		o.Add(metadataRecord{o.epoch, hash})
		o.seen = &seen{version, e.Now.Add(metadataRefresh)}
	}
	o.regexSeen = &version
	return o.Change
}

// matches lists the topics that match and that the caller may see, ascending.
func (o *operation) matches(re *regexp.Regexp) []string {
	var out []string
	for name := range o.Topics.TopicNames() {
		if re.MatchString(name) && (o.MayDescribe == nil || o.MayDescribe(name)) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
