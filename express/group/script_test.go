package group

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts print into testdata")

// TestScripts plays testdata/*.txt. A block is a command with arguments, "----", and what it prints:
//
//	join t1 group=g client=c protocols=range:x
//	----
//	t1 <- join MEMBER_ID_REQUIRED member=c-1
//
// The first argument of a request is its ticket. Appends succeed at once unless "durable later" was said; then
// "stored [CODE]" reports the outcome of the oldest. "reload" replays what is durable into a new machine.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { playFile(t, file) })
	}
}

func playFile(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(t)
	var out bytes.Buffer
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		fmt.Fprintln(&out, lines[i])
		if lines[i] == "" || strings.HasPrefix(lines[i], "#") {
			continue
		}
		command, first := lines[i], i+1
		s.out.Reset()
		s.run(command)
		fmt.Fprintf(&out, "----\n%s", s.out.String())
		var want strings.Builder
		if i+1 < len(lines) && lines[i+1] == "----" {
			for i += 2; i < len(lines) && lines[i] != ""; i++ {
				fmt.Fprintln(&want, lines[i])
			}
			i--
		}
		if got := s.out.String(); got != want.String() && !*rewrite {
			t.Errorf("%s:%d: %s\ngot:\n%swant:\n%s", file, first, command, got, want.String())
		}
	}
	if *rewrite {
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// script drives one machine and prints its effects.
type script struct {
	t       *testing.T
	m       *Machine
	limits  Limits
	start   time.Time
	now     time.Time
	out     strings.Builder
	ids     map[string]int
	tickets map[Ticket]string // open ones
	last    Ticket
	later   bool
	waiting []machine.Append
	log     []machine.Record // durable
}

func newScript(t *testing.T) *script {
	start := time.UnixMilli(1_700_000_000_000)
	s := &script{t: t, start: start, now: start, limits: DefaultLimits(), ids: map[string]int{}, tickets: map[Ticket]string{}}
	s.m = New(s.limits, s.newID, nil)
	return s
}

func (s *script) newID(prefix string) string {
	s.ids[prefix]++
	return prefix + "-" + strconv.Itoa(s.ids[prefix])
}

// args are the key=value arguments of a command.
type args map[string]string

func (a args) str(key, def string) string {
	if v, ok := a[key]; ok {
		return v
	}
	return def
}

func (a args) ptr(key string) *string {
	if v, ok := a[key]; ok {
		return &v
	}
	return nil
}

func (a args) int(key string, def int) int {
	if v, ok := a[key]; ok {
		n, err := strconv.Atoi(v)
		if err != nil {
			panic(err)
		}
		return n
	}
	return def
}

func (a args) ms(key, def string) int32 {
	d, err := time.ParseDuration(a.str(key, def))
	if err != nil {
		panic(err)
	}
	return int32(d.Milliseconds())
}

func (s *script) ticket(name string) Ticket {
	s.last++
	s.tickets[s.last] = name
	return s.last
}

func (s *script) run(line string) {
	fields := strings.Fields(line)
	name, rest := fields[0], fields[1:]
	first := ""
	a := args{}
	for i, f := range rest {
		k, v, ok := strings.Cut(f, "=")
		if !ok && i == 0 {
			first = f
			continue
		}
		a[k] = v
	}
	switch name {
	case "join":
		s.effects(s.m.JoinGroup(s.now, s.ticket(first), Client{ID: a.str("client", "c"), Host: "/h"}, joinRequest(a)))
	case "sync":
		s.effects(s.m.SyncGroup(s.now, s.ticket(first), syncRequest(a)))
	case "heartbeat":
		r := kmsg.NewPtrHeartbeatRequest()
		r.Group, r.MemberID, r.InstanceID = a.str("group", "g"), a.str("member", ""), a.ptr("instance")
		r.Generation = int32(a.int("gen", 0))
		s.effects(s.m.Heartbeat(s.now, s.ticket(first), r))
	case "leave":
		s.effects(s.m.LeaveGroup(s.now, s.ticket(first), leaveRequest(a)))
	case "commit":
		s.effects(s.m.OffsetCommit(s.now, s.ticket(first), commitRequest(a)))
	case "delete-offsets":
		s.effects(s.m.OffsetDelete(s.now, s.ticket(first), deleteRequest(a)))
	case "delete-groups":
		s.effects(s.m.DeleteGroups(s.now, s.ticket(first), strings.Split(a.str("groups", "g"), ",")))
	case "fetch":
		s.fetch(a.str("group", "g"))
	case "list":
		for _, g := range s.m.List(split(a["states"]), split(a["types"])) {
			s.printf("%s %s %s type=%q", g.Group, g.GroupState, g.GroupType, g.ProtocolType)
		}
	case "describe":
		s.describe(s.m.Describe(a.str("group", "g"), int16(a.int("version", 6))))
	default:
		s.runMore(name, first, a)
	}
}

// runMore has the commands that are not requests.
func (s *script) runMore(name, first string, a args) {
	switch name {
	case "limits":
		s.setLimits(a)
	case "advance":
		s.advance(first)
	case "expire":
		s.effects(s.m.Expire(s.now))
	case "topic-deleted":
		s.effects(s.m.TopicDeleted(s.now, first))
	case "durable":
		s.later = first == "later"
	case "stored":
		s.stored(first)
	case "close":
		s.effects(s.m.Close(s.now))
		if len(s.tickets) > 0 {
			s.printf("BUG: not answered: %v", s.tickets)
		}
	case "reload":
		s.m = New(s.limits, s.newID, nil)
		s.tickets = map[Ticket]string{}
		s.waiting = nil
		for _, r := range s.log {
			if err := s.m.Replay(r, nil); err != nil {
				s.printf("replay: %v", err)
			}
		}
		s.effects(s.m.Loaded(s.now))
	default:
		s.t.Fatalf("unknown command %q", name)
	}
}

func (s *script) setLimits(a args) {
	for k, v := range a {
		d, err := time.ParseDuration(v)
		n, err2 := strconv.Atoi(v)
		switch {
		case k == "initial-delay" && err == nil:
			s.limits.InitialRebalanceDelay = d
		case k == "retention" && err == nil:
			s.limits.OffsetsRetention = d
		case k == "max-size" && err2 == nil:
			s.limits.MaxSize = n
		case k == "max-groups" && err2 == nil:
			s.limits.MaxGroups = n
		case k == "max-pending" && err2 == nil:
			s.limits.MaxPending = n
		case k == "max-bytes" && err2 == nil:
			s.limits.MaxGroupBytes = n
		case k == "max-metadata" && err2 == nil:
			s.limits.MaxOffsetMetadata = n
		default:
			s.t.Fatalf("limit %s=%s", k, v)
		}
	}
	s.m.Configure(s.limits)
}

// advance stops at every deadline on the way.
func (s *script) advance(by string) {
	d, err := time.ParseDuration(by)
	if err != nil {
		s.t.Fatal(err)
	}
	end := s.now.Add(d)
	for {
		at, ok := s.m.Deadline()
		if !ok || at.After(end) {
			break
		}
		s.now = at
		before := s.out.Len()
		s.effects(s.m.Advance(s.now))
		if s.out.Len() > before {
			text := s.out.String()
			s.out.Reset()
			s.out.WriteString(text[:before])
			s.printf("at %v", s.now.Sub(s.start))
			s.out.WriteString(text[before:])
		}
	}
	s.now = end
}

func (s *script) stored(code string) {
	if len(s.waiting) == 0 {
		s.t.Fatal("nothing to store")
	}
	next := s.waiting[0]
	s.waiting = s.waiting[1:]
	result := kerr.None
	for c := kerr.Code(-1); c.Known(); c++ {
		if c.Name() == code {
			result = c
		}
	}
	if result == kerr.None {
		s.log = append(s.log, next.Records...)
	}
	s.effects(s.m.Appended(s.now, next.ID, result))
}

func (s *script) printf(format string, a ...any) { fmt.Fprintf(&s.out, format+"\n", a...) }

func (s *script) effects(e Effects) {
	for _, n := range e.Notes {
		a := n.Attrs // group, generation, members, reason
		s.printf("%s", strings.TrimSpace(fmt.Sprintf("* %s: %s gen=%s members=%s %s", a[0].Value, n.Message, a[1].Value, a[2].Value, a[3].Value)))
	}
	for _, r := range e.Replies {
		name, open := s.tickets[r.Ticket]
		if !open {
			s.printf("BUG: ticket %d answered again", r.Ticket)
		}
		delete(s.tickets, r.Ticket)
		s.reply(name, r.Response)
	}
	for _, a := range e.Appends {
		for _, r := range a.Records {
			s.printf("log %s", recordText(r))
		}
	}
	s.waiting = append(s.waiting, e.Appends...)
	for range e.Appends {
		if !s.later {
			s.stored("NONE")
		}
	}
}

func (s *script) reply(name string, response kmsg.Response) {
	var b strings.Builder
	switch r := response.(type) {
	case *kmsg.JoinGroupResponse:
		fmt.Fprintf(&b, "join %s member=%s", kerr.Code(r.ErrorCode).Name(), r.MemberID)
		if r.Generation >= 0 {
			fmt.Fprintf(&b, " gen=%d leader=%s protocol=%s/%s", r.Generation, r.LeaderID, deref(r.ProtocolType), deref(r.Protocol))
		}
		if r.SkipAssignment {
			b.WriteString(" skip-assignment")
		}
		for _, m := range r.Members {
			fmt.Fprintf(&b, " %s%s:%s", m.MemberID, instanceText(m.InstanceID), metadataText(m.ProtocolMetadata))
		}
	case *kmsg.SyncGroupResponse:
		fmt.Fprintf(&b, "sync %s", kerr.Code(r.ErrorCode).Name())
		if r.ErrorCode == 0 {
			fmt.Fprintf(&b, " protocol=%s/%s assignment=%s", deref(r.ProtocolType), deref(r.Protocol), r.MemberAssignment)
		}
	case *kmsg.HeartbeatResponse:
		fmt.Fprintf(&b, "heartbeat %s", kerr.Code(r.ErrorCode).Name())
	case *kmsg.LeaveGroupResponse:
		fmt.Fprintf(&b, "leave %s", kerr.Code(r.ErrorCode).Name())
		for _, m := range r.Members {
			fmt.Fprintf(&b, " %s%s:%s", m.MemberID, instanceText(m.InstanceID), kerr.Code(m.ErrorCode).Name())
		}
	case *kmsg.OffsetCommitResponse:
		b.WriteString("commit")
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				fmt.Fprintf(&b, " %s/%d:%s", t.Topic, p.Partition, kerr.Code(p.ErrorCode).Name())
			}
		}
	case *kmsg.OffsetDeleteResponse:
		fmt.Fprintf(&b, "delete-offsets %s", kerr.Code(r.ErrorCode).Name())
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				fmt.Fprintf(&b, " %s/%d:%s", t.Topic, p.Partition, kerr.Code(p.ErrorCode).Name())
			}
		}
	case *kmsg.DeleteGroupsResponse:
		b.WriteString("delete-groups")
		for _, g := range r.Groups {
			fmt.Fprintf(&b, " %s:%s", g.Group, kerr.Code(g.ErrorCode).Name())
		}
	}
	s.printf("%s <- %s", name, b.String())
}

func (s *script) fetch(group string) {
	for topic, partitions := range s.m.Committed(group) {
		for _, p := range partitions {
			o, _ := s.m.Offset(group, TopicPartition{Topic: topic, Partition: p})
			s.printf("%s/%d = %d epoch=%d %q", topic, p, o.Offset, o.LeaderEpoch, o.Metadata)
		}
	}
}

func (s *script) describe(d kmsg.DescribeGroupsResponseGroup) {
	s.printf("%s %s type=%q protocol=%q %s %s", d.Group, d.State, d.ProtocolType, d.Protocol,
		kerr.Code(d.ErrorCode).Name(), deref(d.ErrorMessage))
	for _, m := range d.Members {
		s.printf("  %s%s client=%s%s metadata=%s assignment=%s", m.MemberID, instanceText(m.InstanceID), m.ClientID, m.ClientHost,
			metadataText(m.ProtocolMetadata), m.MemberAssignment)
	}
}

func recordText(r machine.Record) string {
	var gk kmsg.GroupMetadataKey
	if len(r.Key) > 1 && r.Key[1] == offsetKey {
		var k kmsg.OffsetCommitKey
		if err := k.ReadFrom(r.Key); err != nil {
			return err.Error()
		}
		at := fmt.Sprintf("offset %s %s/%d", k.Group, k.Topic, k.Partition)
		if r.Value == nil {
			return at + " deleted"
		}
		var v kmsg.OffsetCommitValue
		if err := v.ReadFrom(r.Value); err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%s = %d epoch=%d %q v%d", at, v.Offset, v.LeaderEpoch, v.Metadata, v.Version)
	}
	if err := gk.ReadFrom(r.Key); err != nil {
		return err.Error()
	}
	if r.Value == nil {
		return "group " + gk.Group + " deleted"
	}
	var v kmsg.GroupMetadataValue
	if err := v.ReadFrom(r.Value); err != nil {
		return err.Error()
	}
	text := fmt.Sprintf("group %s gen=%d protocol=%s/%s leader=%s", gk.Group, v.Generation, v.ProtocolType,
		deref(v.Protocol), deref(v.Leader))
	for _, m := range v.Members {
		text += fmt.Sprintf(" %s%s:%s>%s", m.MemberID, instanceText(m.InstanceID), metadataText(m.Subscription), m.Assignment)
	}
	return text
}

// metadataText shows a consumer's subscription by its topics, and other metadata as it is.
func metadataText(b []byte) string {
	topics := map[string]bool{}
	if len(b) > 1 && b[0] == 0 && appendSubscription(topics, b) {
		return "topics:" + strings.Join(slices.Sorted(maps.Keys(topics)), "+")
	}
	return string(b)
}

func deref(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
}

func instanceText(s *string) string {
	if s == nil {
		return ""
	}
	return "(" + *s + ")"
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// joinRequest reads group, member, instance, session, rebalance, type, protocols=name:metadata,..., version, reason.
func joinRequest(a args) *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Version = int16(a.int("version", 9))
	r.Group, r.MemberID, r.InstanceID = a.str("group", "g"), a.str("member", ""), a.ptr("instance")
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = a.ms("session", "10s"), a.ms("rebalance", "60s")
	r.ProtocolType, r.Reason = a.str("type", "consumer"), a.ptr("reason")
	for _, p := range split(a.str("protocols", "range:m")) {
		name, metadata, _ := strings.Cut(p, ":")
		jp := kmsg.NewJoinGroupRequestProtocol()
		jp.Name, jp.Metadata = name, []byte(metadata)
		if topics, ok := strings.CutPrefix(metadata, "topics:"); ok {
			sub := kmsg.NewConsumerMemberMetadata()
			sub.Version, sub.Topics = 3, strings.Split(topics, "+")
			jp.Metadata = sub.AppendTo(nil)
		}
		r.Protocols = append(r.Protocols, jp)
	}
	return r
}

// syncRequest reads group, member, instance, gen, type, protocol, assign=member:bytes,...
func syncRequest(a args) *kmsg.SyncGroupRequest {
	r := kmsg.NewPtrSyncGroupRequest()
	r.Version = 5
	r.Group, r.MemberID, r.InstanceID = a.str("group", "g"), a.str("member", ""), a.ptr("instance")
	r.Generation, r.ProtocolType, r.Protocol = int32(a.int("gen", 0)), a.ptr("type"), a.ptr("protocol")
	for _, p := range split(a["assign"]) {
		member, assignment, _ := strings.Cut(p, ":")
		ga := kmsg.NewSyncGroupRequestGroupAssignment()
		ga.MemberID, ga.MemberAssignment = member, []byte(assignment)
		r.GroupAssignment = append(r.GroupAssignment, ga)
	}
	return r
}

// leaveRequest reads group, version, member; from version 3 on members=member/instance,... either of which may be missing.
func leaveRequest(a args) *kmsg.LeaveGroupRequest {
	r := kmsg.NewPtrLeaveGroupRequest()
	r.Version = int16(a.int("version", 5))
	r.Group, r.MemberID = a.str("group", "g"), a.str("member", "")
	for _, p := range split(a["members"]) {
		m := kmsg.NewLeaveGroupRequestMember()
		member, instance, static := strings.Cut(p, "/")
		m.MemberID, m.Reason = member, a.ptr("reason")
		if static {
			m.InstanceID = &instance
		}
		r.Members = append(r.Members, m)
	}
	return r
}

// commitRequest reads group, member, instance, gen, version, retention, offsets=topic/partition:offset[:metadata],...
func commitRequest(a args) *kmsg.OffsetCommitRequest {
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Version = int16(a.int("version", 9))
	r.Group, r.MemberID, r.InstanceID = a.str("group", "g"), a.str("member", ""), a.ptr("instance")
	r.Generation = int32(a.int("gen", -1))
	if v, ok := a["retention"]; ok {
		r.RetentionTimeMillis = int64(args{"r": v}.ms("r", ""))
	}
	for _, o := range split(a["offsets"]) {
		parts := strings.Split(o, ":")
		topic, partition, _ := strings.Cut(parts[0], "/")
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition = int32(args{"p": partition}.int("p", 0))
		p.Offset = int64(args{"o": parts[1]}.int("o", 0))
		if len(parts) > 2 {
			p.Metadata = &parts[2]
		}
		i := slices.IndexFunc(r.Topics, func(t kmsg.OffsetCommitRequestTopic) bool { return t.Topic == topic })
		if i < 0 {
			t := kmsg.NewOffsetCommitRequestTopic()
			t.Topic = topic
			r.Topics = append(r.Topics, t)
			i = len(r.Topics) - 1
		}
		r.Topics[i].Partitions = append(r.Topics[i].Partitions, p)
	}
	return r
}

// deleteRequest reads group, partitions=topic/partition,...
func deleteRequest(a args) *kmsg.OffsetDeleteRequest {
	r := kmsg.NewPtrOffsetDeleteRequest()
	r.Group = a.str("group", "g")
	for _, tp := range split(a["partitions"]) {
		topic, partition, _ := strings.Cut(tp, "/")
		t := kmsg.NewOffsetDeleteRequestTopic()
		p := kmsg.NewOffsetDeleteRequestTopicPartition()
		p.Partition = int32(args{"p": partition}.int("p", 0))
		t.Topic, t.Partitions = topic, append(t.Partitions, p)
		r.Topics = append(r.Topics, t)
	}
	return r
}
