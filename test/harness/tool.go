package harness

import (
	_ "embed" // the pinned requirements
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A Tool is a foreign toolchain that a test needs. The comment of each says what Require returns for it.
type Tool string

const (
	// Python is a virtual environment with confluent-kafka, kafka-python, aiokafka, their codecs, the IAM signer of AWS, boto3 and the AWS CLI: the path of its python.
	Python Tool = "python"
	// Node is kafkajs with its codecs and the IAM signer of AWS: the path of the node_modules folder, for NODE_PATH.
	Node Tool = "node"
	// Java is a JDK and Apache Kafka's jars (broker, clients, tools, streams): a class path.
	Java Tool = "java"
	// JavaIAM is the library of AWS with which Java clients log in by IAM, and what it needs: a class path to stand behind Java's.
	JavaIAM Tool = "java-iam"
	// Connect is what Java lacks to see a Kafka Connect worker at work: the path of a folder that holds the file connectors in
	// plugins/, for plugin.path, and in logging/ the logger that writes to standard error, to stand first in a class path.
	Connect Tool = "connect"
	// Kcat is librdkafka's command line client: the path of the program.
	Kcat Tool = "kcat"
	// SSLScan looks at what a TLS server accepts: the path of the program.
	SSLScan Tool = "sslscan"
	// S3Server is versitygw, a server that speaks the protocol of Amazon S3: the path of the program. See StartS3.
	S3Server Tool = "s3server"
	// Go is the Go toolchain, for client programs that live in modules of their own: the path of the go command.
	Go Tool = "go"
)

// errUnknownTool is returned for a Tool that is none of the constants.
var errUnknownTool = errors.New("harness: unknown tool")

//go:embed pins/requirements.txt
var requirementsTxt string

//go:embed pins/package.json
var packageJSON string

//go:embed pins/pom.xml
var pomXML string

//go:embed pins/iam.xml
var iamXML string

//go:embed pins/connect.xml
var connectXML string

// Require sets up a toolchain, or finds it set up, and returns how it is reached (see Tool). Where that fails the test is
// skipped, or fails if MILLRACE_TEST_REQUIRE is "all". With -short every foreign toolchain counts as unwanted: it skips.
func Require(t testing.TB, tool Tool) string {
	t.Helper()
	if testing.Short() {
		t.Skipf("needs %s: skipped with -short", tool)
	}
	path, err := setUp(tool)
	if err == nil {
		return path
	}
	if required() {
		t.Fatalf("needs %s: %v", tool, err)
	}
	t.Skipf("needs %s: %v", tool, err)
	return ""
}

// Has is Require for a test that can do without the tool: it returns false where Require would skip.
func Has(t testing.TB, tool Tool) bool {
	t.Helper()
	if testing.Short() {
		return false
	}
	_, err := setUp(tool)
	if err == nil {
		return true
	}
	if required() {
		t.Fatalf("needs %s: %v", tool, err)
	}
	t.Logf("goes without %s: %v", tool, err)
	return false
}

func setUp(tool Tool) (string, error) {
	switch tool {
	case Python:
		return setUpPython()
	case Node:
		return setUpNode()
	case Java:
		return setUpJava()
	case JavaIAM:
		return setUpJavaIAM()
	case Connect:
		return setUpConnect()
	case Kcat, SSLScan:
		return setUpDebian(string(tool))
	case S3Server:
		return setUpS3Server()
	case Go:
		return exec.LookPath("go")
	}
	return "", fmt.Errorf("%w %q", errUnknownTool, tool)
}

func setUpPython() (string, error) {
	python, err := exec.LookPath("python3")
	if err != nil {
		return "", err
	}
	version, err := run("", python, "--version")
	if err != nil {
		return "", err
	}
	dir, err := Cached("python", []string{requirementsTxt, version}, func(dir string) error {
		if _, err := run("", python, "-m", "venv", dir); err != nil {
			return err
		}
		requirements := filepath.Join(dir, "requirements.txt")
		if err := os.WriteFile(requirements, []byte(requirementsTxt), 0o644); err != nil {
			return err
		}
		_, err := run("", filepath.Join(dir, "bin", "python"), "-m", "pip", "install",
			"--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--requirement", requirements)
		return err
	})
	return filepath.Join(dir, "bin", "python"), err
}

func setUpNode() (string, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return "", err
	}
	version, err := run("", node, "--version")
	if err != nil {
		return "", err
	}
	dir, err := Cached("node", []string{packageJSON, version}, func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(packageJSON), 0o644); err != nil {
			return err
		}
		// No install scripts: a package that would fetch a binary from elsewhere must fail here, not half work.
		_, err := run(dir, "npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")
		return err
	})
	return filepath.Join(dir, "node_modules"), err
}

func setUpJava() (string, error) {
	for _, program := range []string{"java", "javac", "mvn"} {
		if _, err := exec.LookPath(program); err != nil {
			return "", err
		}
	}
	version, err := run("", "java", "-version")
	if err != nil {
		return "", err
	}
	dir, err := Cached("kafka", []string{pomXML, version}, func(dir string) error {
		if err := copyJars(dir, pomXML, "libs"); err != nil {
			return err
		}
		return archiveClasses(dir)
	})
	return filepath.Join(dir, "libs", "*"), err
}

func setUpJavaIAM() (string, error) {
	if _, err := exec.LookPath("mvn"); err != nil {
		return "", err
	}
	dir, err := Cached("java-iam", []string{iamXML}, func(dir string) error {
		return copyJars(dir, iamXML, "libs", "-DexcludeGroupIds=org.apache.kafka")
	})
	return filepath.Join(dir, "libs", "*"), err
}

func setUpConnect() (string, error) {
	if _, err := exec.LookPath("mvn"); err != nil {
		return "", err
	}
	return Cached("connect", []string{connectXML}, func(dir string) error {
		return errors.Join(
			copyJars(dir, connectXML, "plugins", "-DincludeGroupIds=org.apache.kafka"),
			copyJars(dir, connectXML, "logging", "-DincludeGroupIds=org.slf4j"))
	})
}

// copyJars has Maven copy the jars that a pom asks for into a folder below dir.
func copyJars(dir, pom, folder string, options ...string) error {
	if err := os.WriteFile(filepath.Join(dir, "pom.xml"), []byte(pom), 0o644); err != nil {
		return err
	}
	args := []string{
		"--quiet", "--batch-mode", "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies",
		"-DoutputDirectory=" + filepath.Join(dir, folder),
	}
	_, err := run(dir, "mvn", append(args, options...)...)
	return err
}

// archiveName is the file beside libs/ with the loaded form of the classes that Kafka's tools share: with it they start in
// half the time.
const archiveName = "classes.jsa"

// archiveClasses runs a tool that finds no broker, and has the JVM keep the classes that it loaded.
func archiveClasses(dir string) error {
	config := filepath.Join(dir, "client.properties")
	if err := os.WriteFile(config, []byte("default.api.timeout.ms=1000\nrequest.timeout.ms=1000\n"), 0o644); err != nil {
		return err
	}
	archive := filepath.Join(dir, archiveName)
	args := JavaArgs(filepath.Join(dir, "libs", "*"), "org.apache.kafka.tools.TopicCommand",
		"--bootstrap-server", "127.0.0.1:1", "--list", "--command-config", config)
	_, err := run(dir, "java", append([]string{"-XX:ArchiveClassesAtExit=" + archive}, args...)...)
	if _, missing := os.Stat(archive); missing != nil {
		return errors.Join(missing, err) // err alone is no fault: no broker is there
	}
	return nil
}

// setUpDebian finds a program, or installs the distribution's package of the same name.
func setUpDebian(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	apt, err := exec.LookPath("apt-get")
	if err != nil || os.Geteuid() != 0 {
		return "", fmt.Errorf("%s is not on the path, and only root can install it with apt-get", name)
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	// One lock for all packages: apt-get has one too, and does not wait for it.
	err = locked(filepath.Join(cache, "apt.lock"), func() error {
		if _, err := exec.LookPath(name); err == nil {
			return nil
		}
		if _, err := run("", apt, "install", "--yes", "--quiet", name); err == nil {
			return nil
		}
		if _, err := run("", apt, "update", "--quiet"); err != nil {
			return err
		}
		_, err := run("", apt, "install", "--yes", "--quiet", name)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("install %s: %w", name, err)
	}
	return exec.LookPath(name)
}

// Javac compiles the Java sources in dir against Apache Kafka's jars and returns a class path with both.
func Javac(t testing.TB, dir string) string {
	t.Helper()
	jars := Require(t, Java)
	sources, err := filepath.Glob(filepath.Join(dir, "*.java"))
	if err != nil {
		t.Fatal(err)
	}
	stamp, err := hashTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	classes, err := Cached("client-"+filepath.Base(dir), []string{stamp, jars}, func(out string) error {
		_, err := run("", "javac", append([]string{"-Xlint:-options", "-nowarn", "-cp", jars, "-d", out}, sources...)...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return classes + string(os.PathListSeparator) + jars
}

// GoBuild builds the main package in dir, which may be a module of its own, and returns the program's path.
func GoBuild(t testing.TB, dir string) string {
	t.Helper()
	goTool := Require(t, Go)
	stamp, err := hashTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	version, err := run(dir, goTool, "version")
	if err != nil {
		t.Fatal(err)
	}
	out, err := Cached("client-"+filepath.Base(dir), []string{stamp, version}, func(out string) error {
		_, err := run(dir, goTool, "build", "-o", filepath.Join(out, "client"), ".")
		return err
	})
	if err != nil {
		if required() {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return filepath.Join(out, "client")
}

// JavaArgs returns the arguments of the java command for a short-lived class: flags for a quick start and a small heap.
func JavaArgs(classPath, class string, args ...string) []string {
	flags := []string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xlog:disable", "-Xmx384m"}
	if dir, ok := strings.CutSuffix(classPath, filepath.Join("libs", "*")); ok && !strings.Contains(dir, string(os.PathListSeparator)) {
		archive := filepath.Join(dir, archiveName)
		if _, err := os.Stat(archive); err == nil {
			flags = append(flags, "-XX:SharedArchiveFile="+archive)
		}
	}
	return append(append(flags, "-cp", classPath, class), args...)
}

// run executes a program to its end and returns what it printed; an error holds the last of that too.
func run(dir, program string, args ...string) (string, error) {
	command := exec.Command(program, args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	output, err := command.CombinedOutput()
	if err != nil {
		const shown = 2000
		tail := strings.TrimSpace(string(output[max(0, len(output)-shown):]))
		return "", fmt.Errorf("%s: %w\n%s", filepath.Base(program), err, tail)
	}
	return string(output), nil
}
