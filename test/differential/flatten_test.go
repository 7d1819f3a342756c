package differential

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/record"
)

// field is one field of an answer: where it stands and what it says, in words that both servers can share.
type field struct{ path, value string }

// symbols replaces what differs by nature (ids that a server makes up, its port, its clock) by words. The first of a kind
// is $kind1, so that the same thing has the same word on both sides as long as both make things in the same order.
type symbols struct {
	broker int32 // node id
	port   int32
	topics *topics
	seen   map[string]string
	counts map[string]int
	after  int64 // milliseconds since 1970; later times are the clock's
}

// topics are the topics that a server has told of, to all scripts.
type topics struct {
	byID   sync.Map // [16]byte -> name
	byName sync.Map // name -> the last [16]byte
}

func newSymbols(topics *topics, broker, port int32) *symbols {
	began := time.Now().Add(-time.Hour).UnixMilli()
	return &symbols{broker: broker, port: port, topics: topics, seen: make(map[string]string), counts: make(map[string]int), after: began}
}

// reset forgets the words that were given.
func (s *symbols) reset() {
	clear(s.seen)
	clear(s.counts)
}

// of returns the word for a value of a kind.
func (s *symbols) of(kind, value string) string {
	known, ok := s.seen[kind+value]
	if !ok {
		s.counts[kind]++
		known = fmt.Sprintf("$%s%d", kind, s.counts[kind])
		s.seen[kind+value] = known
	}
	return known
}

// invented bounds the producer ids and session ids that only scripts make up.
const invented = 1 << 40

// generated finds ids that a server has made up within a text.
var generated = regexp.MustCompile(`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}(-\d+$)?|^[A-Za-z0-9_-]{22}$`)

// flatten lists the fields of an answer. Elements of an array are named by what identifies them, not by their place, since
// most arrays of Apache Kafka come out of a hash table.
func (s *symbols) flatten(response kmsg.Response) []field {
	v := reflect.ValueOf(response).Elem()
	s.learnTopics(v)
	var fields []field
	s.walk("", "", v, &fields)
	slices.SortStableFunc(fields, func(a, b field) int { return strings.Compare(a.path, b.path) })
	return fields
}

// learnTopics takes down which id belongs to which topic, wherever an answer says both.
func (s *symbols) learnTopics(v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			s.learnTopics(v.Index(i))
		}
	case reflect.Struct:
		id := v.FieldByName("TopicID")
		if code := v.FieldByName("ErrorCode"); code.IsValid() && code.Int() != 0 {
			return
		}
		for _, name := range []string{"Topic", "TopicName"} {
			if f := v.FieldByName(name); f.IsValid() && id.IsValid() {
				s.learnTopic(id.Interface().([16]byte), f)
			}
		}
		for i := range v.NumField() {
			s.learnTopics(v.Field(i))
		}
	}
}

func (s *symbols) learnTopic(id [16]byte, name reflect.Value) {
	if name.Kind() == reflect.Pointer {
		if name.IsNil() {
			return
		}
		name = name.Elem()
	}
	if id != [16]byte{} && name.String() != "" {
		s.topics.byID.LoadOrStore(id, name.String())
		s.topics.byName.Store(name.String(), id)
	}
}

func (s *symbols) walk(path, name string, v reflect.Value, out *[]field) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Name == "Version" && path == "" {
				continue
			}
			if f.Name == "UnknownTags" {
				if tags := v.Field(i).Interface().(kmsg.Tags); tags.Len() > 0 {
					*out = append(*out, field{join(path, "UnknownTags"), strconv.Itoa(tags.Len())})
				}
				continue
			}
			s.walk(join(path, f.Name), f.Name, v.Field(i), out)
		}
	case reflect.Pointer:
		if v.IsNil() {
			*out = append(*out, field{path, "null"})
			return
		}
		s.walk(path, name, v.Elem(), out)
	case reflect.Slice:
		s.walkSlice(path, name, v, out)
	default:
		*out = append(*out, field{path, s.scalar(name, v)})
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (s *symbols) walkSlice(path, name string, v reflect.Value, out *[]field) {
	if b, ok := v.Interface().([]byte); ok {
		s.walkBytes(path, name, b, out)
		return
	}
	if v.IsNil() {
		*out = append(*out, field{path, "null"})
		return
	}
	if v.Type().Elem().Kind() != reflect.Struct {
		words := make([]string, 0, v.Len())
		for i := range v.Len() {
			words = append(words, s.scalar(name, v.Index(i)))
		}
		slices.Sort(words)
		*out = append(*out, field{path, "[" + strings.Join(words, " ") + "]"})
		return
	}
	*out = append(*out, field{path + ".len", strconv.Itoa(v.Len())})
	twins := make(map[string]int)
	for i := range v.Len() {
		id := s.identity(v.Index(i))
		twins[id]++
		if n := twins[id]; n > 1 {
			id += "#" + strconv.Itoa(n)
		}
		element := path + "[" + id + "]"
		*out = append(*out, field{element, present})
		s.walk(element, "", v.Index(i), out)
	}
}

// present is the value of an element of an array, before those of its fields.
const present = "present"

// identifying are the names of fields that tell an element of an array from the others.
var identifying = []string{
	"ApiKey", "Topic", "TopicName", "TopicID", "Name", "Partition", "Group", "GroupID", "MemberID", "ResourceType", "ResourceName",
	"TransactionalID", "ProducerID", "NodeID", "Dir", "User", "Key", "FirstOffset", "Type", "CoordinatorKey", "AclID",
}

func (s *symbols) identity(v reflect.Value) string {
	var words []string
	for _, name := range identifying {
		f := v.FieldByName(name)
		if name == "TopicID" && len(words) > 0 {
			continue // the name is enough
		}
		if !f.IsValid() || f.Kind() == reflect.Slice || f.IsZero() && f.Kind() != reflect.Int32 && f.Kind() != reflect.Int16 {
			continue
		}
		if f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		words = append(words, s.scalar(name, f))
	}
	if entity := v.FieldByName("Entity"); entity.IsValid() {
		for i := range entity.Len() {
			words = append(words, s.identity(entity.Index(i)))
		}
		slices.Sort(words)
	}
	return strings.Join(words, "/")
}

// scalar is the word for one value of a field.
func (s *symbols) scalar(name string, v reflect.Value) string {
	switch value := v.Interface().(type) {
	case [16]byte:
		return s.uuid(value)
	case string:
		return s.text(name, value)
	case int64:
		if value > s.after {
			return "$time"
		}
		if slices.Contains([]string{"Size", "TotalBytes", "UsableBytes"}, name) && value > 0 {
			return "$bytes"
		}
		if name == "ProducerID" && value >= 0 && value < invented {
			return s.of("producer", strconv.FormatInt(value, 10))
		}
	case int16:
		if strings.HasSuffix(name, "ErrorCode") {
			return kerr.Code(value).Name()
		}
	case int32:
		if word, ok := s.number(name, value); ok {
			return word
		}
	}
	return fmt.Sprint(v.Interface())
}

func (s *symbols) uuid(id [16]byte) string {
	if id == [16]byte{} {
		return "0"
	}
	if name, ok := s.topics.byID.Load(id); ok {
		return "$id:" + name.(string)
	}
	return s.of("uuid", string(id[:]))
}

func (s *symbols) text(name, value string) string {
	if strings.HasSuffix(name, "ErrorMessage") {
		if value == "" {
			return "empty"
		}
		return "text"
	}
	switch name {
	case "Dir":
		return "$dir"
	case "ClusterID":
		return s.of("cluster", value)
	}
	value = printable(value)
	value = strings.ReplaceAll(value, ":"+strconv.Itoa(int(s.port)), ":$port")
	return generated.ReplaceAllStringFunc(value, func(id string) string { return s.of("generated", id) })
}

// printable makes one line of a text.
func printable(s string) string {
	quoted := strconv.Quote(s)
	if quoted = quoted[1 : len(quoted)-1]; len(quoted) > 80 {
		return fmt.Sprintf("%s...%d", quoted[:20], len(s))
	}
	return strings.ReplaceAll(quoted, "|", "/")
}

func (s *symbols) number(name string, value int32) (string, bool) {
	switch name {
	case "ThrottleMillis":
		if value > 0 {
			return "$throttled", true
		}
	case "Port":
		if value == s.port {
			return "$port", true
		}
	case "NodeID", "Leader", "LeaderID", "ControllerID", "Replicas", "ISR", "BrokerID", "CoordinatorID", "Broker":
		if value == s.broker {
			return "$broker", true
		}
	case "SessionID", "SubscriptionID":
		if value != 0 {
			return s.of("session", strconv.Itoa(int(value))), true
		}
	}
	return "", false
}

// walkBytes lists record batches one by one; other bytes stay bytes.
func (s *symbols) walkBytes(path, name string, b []byte, out *[]field) {
	if name != "RecordBatches" && name != "Records" {
		word := "null"
		if b != nil {
			word = "0x" + hex.EncodeToString(b)
		}
		*out = append(*out, field{path, word})
		return
	}
	// Null and empty are the same to every client.
	n := 0
	for ; len(b) > 0; n++ {
		batch, rest, err := record.Next(b)
		if err != nil {
			*out = append(*out, field{fmt.Sprintf("%s[%d]", path, n), err.Error()})
			return
		}
		s.walkBatch(fmt.Sprintf("%s[%d]", path, n), batch, out)
		b = rest
	}
	*out = append(*out, field{path + ".len", strconv.Itoa(n)})
}

func (s *symbols) walkBatch(path string, b record.Batch, out *[]field) {
	stamp := func(ms int64) string { return s.scalar("", reflect.ValueOf(ms)) }
	add := func(name string, value any) { *out = append(*out, field{path + "." + name, fmt.Sprint(value)}) }
	add("BaseOffset", b.BaseOffset())
	add("LeaderEpoch", b.PartitionLeaderEpoch())
	add("Attributes", b.Attributes())
	add("LastOffsetDelta", b.LastOffsetDelta())
	add("BaseTimestamp", stamp(b.BaseTimestamp()))
	add("MaxTimestamp", stamp(b.MaxTimestamp()))
	add("ProducerID", s.scalar("ProducerID", reflect.ValueOf(b.ProducerID())))
	add("ProducerEpoch", b.ProducerEpoch())
	add("BaseSequence", b.BaseSequence())
	add("NumRecords", b.NumRecords())
	if b.CRC() != b.ComputeCRC() {
		add("CRC", "wrong")
	}
	for r, err := range b.Records(1 << 20) {
		if err != nil {
			add("Records", err)
			return
		}
		value := hex.EncodeToString(r.Value)
		add(fmt.Sprintf("Record[%d]", r.Offset-b.BaseOffset()), fmt.Sprintf("%s %x=%s", stamp(r.Timestamp), r.Key, value))
	}
}
