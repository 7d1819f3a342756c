package meter

// Sent is what an answer has for its client, by topic, until it is known that it was sent. The zero value is an empty one. It is for one
// goroutine at a time.
type Sent struct{ parts []part }

// part is what an answer has of one topic.
type part struct {
	topic *Topic
	bytes int
}

// Add notes bytes of batches of a topic, which may be nil: nobody counts it.
func (s *Sent) Add(t *Topic, bytes int) { s.parts = append(s.parts, part{t, bytes}) }

// Count counts what was noted: it was sent.
func (s *Sent) Count() {
	for _, p := range s.parts {
		p.topic.Fetched(p.bytes)
	}
}

// Clear forgets what was noted, and keeps the memory.
func (s *Sent) Clear() {
	clear(s.parts)
	s.parts = s.parts[:0]
}
