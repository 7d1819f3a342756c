package hostile

import (
	"testing"

	"millrace/test/harness"
)

// TestApacheKafka runs against Apache Kafka what millrace is held to, so that nothing is asked of it that Kafka does not do.
func TestApacheKafka(t *testing.T) {
	harness.Long(t, "make suite SUITE=hostile")
	c := startKafka(t)
	t.Run("frames", func(t *testing.T) { frames(t, c) })
	t.Run("batches", func(t *testing.T) { batches(t, c) })
}
