package render

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"millrace/engine"
)

// Heaps of nodes whose spec names none, in bytes.
const (
	DefaultBrokerHeap     = 512 << 20
	DefaultControllerHeap = 256 << 20
)

// Bounds of what a node prints about itself: so many files of so many bytes.
const (
	logFiles     = 4
	logFileBytes = 16 << 20
)

// Heap is that of the node's Java machine, in bytes.
func Heap(s engine.NodeSpec) int64 {
	switch {
	case s.Heap > 0:
		return s.Heap
	case s.Role == engine.Controller:
		return DefaultControllerHeap
	}
	return DefaultBrokerHeap
}

// Options are those of java, before the class path: memory, garbage collection as Apache Kafka's own scripts have it, logging, and an end to a
// process that has no memory left, which would half work otherwise. What the heap leaves of the spec's memory is shared by buffers outside it and
// all the rest, half each.
func Options(s engine.NodeSpec, version string, p Place, archive string) []string {
	heap := Heap(s)
	args := []string{
		"-server", fmt.Sprintf("-Xmx%dk", heap>>10), "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
		"-XX:+ExplicitGCInvokesConcurrent", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true",
		"-Xlog:gc:file=" + filepath.Join(p.Logs, "gc.log") + ":time:filecount=2,filesize=4M",
	}
	if rest := s.Memory - heap; s.Memory > 0 && rest > 0 {
		args = append(args, fmt.Sprintf("-XX:MaxDirectMemorySize=%dk", rest>>11))
	}
	if s.Limits.CPUs > 0 {
		args = append(args, "-XX:ActiveProcessorCount="+strconv.Itoa(s.Limits.CPUs))
	}
	if archive != "" {
		args = append(args, "-XX:SharedArchiveFile="+archive, "-Xshare:auto")
	}
	if atLeast(version, 4, 0) {
		return append(args, "-Dlog4j2.configurationFile="+p.Logging)
	}
	return append(args, "-Dlog4j.configuration=file:"+p.Logging)
}

// Logging is the configuration of log4j, of the generation that the version has: everything to files that are bounded together, and faults to the
// process's output too.
func Logging(version string, p Place) string {
	file := filepath.Join(p.Logs, "server.log")
	if atLeast(version, 4, 0) {
		return strings.NewReplacer("FILE", file, "BYTES", strconv.Itoa(logFileBytes), "MOST", strconv.Itoa(logFiles-1)).Replace(log4j2)
	}
	return strings.NewReplacer("FILE", file, "BYTES", strconv.Itoa(logFileBytes), "MOST", strconv.Itoa(logFiles-1)).Replace(log4j1)
}

const log4j2 = `appender.file.type=RollingFile
appender.file.name=file
appender.file.fileName=FILE
appender.file.filePattern=FILE.%i
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %p %m (%c)%n
appender.file.policies.type=Policies
appender.file.policies.size.type=SizeBasedTriggeringPolicy
appender.file.policies.size.size=BYTES
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=MOST
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %p %m (%c)%n
appender.out.filter.level.type=ThresholdFilter
appender.out.filter.level.level=ERROR
rootLogger.level=INFO
rootLogger.appenderRef.file.ref=file
rootLogger.appenderRef.out.ref=out
`

const log4j1 = `log4j.rootLogger=INFO, file, out
log4j.appender.file=org.apache.log4j.RollingFileAppender
log4j.appender.file.File=FILE
log4j.appender.file.MaxFileSize=BYTES
log4j.appender.file.MaxBackupIndex=MOST
log4j.appender.file.layout=org.apache.log4j.PatternLayout
log4j.appender.file.layout.ConversionPattern=%d{ISO8601} %p %m (%c)%n
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.Threshold=ERROR
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %p %m (%c)%n
`

// Digest tells properties apart that ask for another process: two that differ only in what the configuration revision says have the same, since
// that is for an operation to bring about, node after node or without a start at all. Its errors are those of Properties.
func Digest(s engine.NodeSpec, version string, p Place) (string, error) {
	if _, err := Configured(s.Properties); err != nil {
		return "", err
	}
	s.Properties = ""
	text, err := Properties(s, version, p)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(text))
	const enough = 12
	return hex.EncodeToString(sum[:])[:enough], nil
}
