package dist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"time"

	"millrace/base/disk"
)

// Files of what is made of a version once, below Dir/primed/VERSION.
const (
	archiveFile    = "classes.jsa"
	checkpointFile = "bootstrap.checkpoint"
	javaFile       = "java.txt" // what the Java called itself that made them
)

const (
	// trainLimit is how long a node may take that starts only to have its classes kept.
	trainLimit = 2 * time.Minute
	// wordLimit is for how long its word is awaited that it has started. One that says nothing, such as where a distribution was given a
	// logger of its own, has read most of its classes by then.
	wordLimit = 20 * time.Second
)

func (d *Dist) primed(version string) string { return filepath.Join(d.cfg.Dir, "primed", version) }

// isPrimed says that everything was made, by this Java.
func (d *Dist) isPrimed(version, java string) bool {
	text, err := d.cfg.FS.ReadFile(filepath.Join(d.primed(version), javaFile))
	return err == nil && string(text) == java
}

// prime makes what is made once: it formats a folder with Kafka's own tool, of which the bootstrap metadata are kept, and has a node start from it
// and end, after which Java writes down the classes that it has read.
func (d *Dist) prime(ctx context.Context, k *kind, java string) (err error) {
	staging := filepath.Join(d.cfg.Dir, "priming")
	if err := disk.RemoveAll(d.cfg.FS, staging); err != nil {
		return fmt.Errorf("throw away what was half made: %w", err)
	}
	data := filepath.Join(staging, "data")
	if err := d.cfg.FS.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("folder to make things in: %w", err)
	}
	properties := filepath.Join(staging, "server.properties")
	text, err := sample(ctx, data)
	if err != nil {
		return fmt.Errorf("free port: %w", err)
	}
	if err := d.cfg.FS.WriteFileAtomic(properties, []byte(text)); err != nil {
		return fmt.Errorf("properties of a sample: %w", err)
	}
	made := d.kafka(k)
	const sampleID = "bWlsbHJhY2Utc2FtcGxlMQ"
	if _, err := run(ctx, made.Java, []string{"-Xmx256m", "-cp", made.ClassPath, "kafka.tools.StorageTool", "format",
		"--cluster-id", sampleID, "--config", properties}, staging); err != nil {
		return fmt.Errorf("format a sample with Apache Kafka %s: %w", k.version, err)
	}
	if err := d.train(ctx, made, staging, properties); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d.cfg.Log.Warn("classes of apache kafka could not be kept, its nodes start slower", "version", k.version, "err", err)
	}
	return d.keep(staging, data, k.version, java)
}

// keep puts what was made in place; the name of the Java comes last, and says that all is there.
func (d *Dist) keep(staging, data, version, java string) error {
	dir := d.primed(version)
	if err := errors.Join(disk.RemoveAll(d.cfg.FS, dir), d.cfg.FS.MkdirAll(dir, 0o700)); err != nil {
		return fmt.Errorf("keep what was made of Apache Kafka: %w", err)
	}
	err := d.cfg.FS.Rename(filepath.Join(staging, archiveFile), filepath.Join(dir, archiveFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // D5
	}
	checkpoint, readErr := d.cfg.FS.ReadFile(filepath.Join(data, checkpointFile))
	if err := errors.Join(err, readErr); err != nil {
		return fmt.Errorf("keep what was made of Apache Kafka: %w", err)
	}
	if err := d.cfg.FS.WriteFileAtomic(filepath.Join(dir, checkpointFile), checkpoint); err != nil {
		return fmt.Errorf("keep what was made of Apache Kafka: %w", err)
	}
	if err := d.cfg.FS.WriteFileAtomic(filepath.Join(dir, javaFile), []byte(java)); err != nil {
		return fmt.Errorf("keep what was made of Apache Kafka: %w", err)
	}
	return disk.RemoveAll(d.cfg.FS, staging)
}

// train starts a node, waits until it serves, and ends it.
func (d *Dist) train(ctx context.Context, made Kafka, staging, properties string) error {
	ctx, cancel := context.WithTimeout(ctx, trainLimit)
	defer cancel()
	began := make(chan struct{}, 1)
	args := []string{"-Xmx256m", "-XX:+UseG1GC", "-XX:ArchiveClassesAtExit=" + filepath.Join(staging, archiveFile), "-cp", made.ClassPath}
	if strings.HasPrefix(made.Version, "3.") {
		args = append(args, "-Dlog4j.configuration=file:"+filepath.Join(staging, "log4j.properties"))
	} else {
		args = append(args, "-Dlog4j2.configurationFile="+filepath.Join(staging, "log4j2.properties"))
	}
	if err := errors.Join(
		d.cfg.FS.WriteFileAtomic(filepath.Join(staging, "log4j.properties"), []byte(sampleLog4j)),
		d.cfg.FS.WriteFileAtomic(filepath.Join(staging, "log4j2.properties"), []byte(sampleLog4j2)),
	); err != nil {
		return err
	}
	p, err := begin(ctx, made.Java, append(args, "kafka.Kafka", properties), staging, func(line string) {
		if strings.Contains(line, "Kafka Server started") {
			select {
			case began <- struct{}{}:
			default:
			}
		}
	})
	if err != nil {
		return err
	}
	word := time.NewTimer(wordLimit)
	defer word.Stop()
	select {
	case <-began:
	case <-word.C:
	case <-p.process.Done():
		return fmt.Errorf("the sample ended: %s", p.said())
	case <-ctx.Done():
	}
	return p.end(ctx)
}

const sampleLog4j = `log4j.rootLogger=INFO, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%m%n
`

const sampleLog4j2 = `appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%m%n
rootLogger.level=INFO
rootLogger.appenderRef.out.ref=out
`

// sample are the properties of a node that is broker and controller at once.
func sample(ctx context.Context, data string) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	controller := l.Addr().String()
	if err := l.Close(); err != nil {
		return "", err
	}
	return `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@` + controller + `
listeners=CLIENT://127.0.0.1:0,CONTROLLER://` + controller + `
advertised.listeners=CLIENT://127.0.0.1:9
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=` + data + `
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
`, nil
}
