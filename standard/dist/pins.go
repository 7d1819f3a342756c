package dist

import (
	"embed"
	"fmt"
	"path"
	"strconv"
	"strings"
)

//go:embed pins/*.txt
var pinFiles embed.FS

// pin is a version that Maven can get: lines "java N", "artifact GROUP:NAME:VERSION" and "jar SHA256 FILE" of a file named after the version.
type pin struct {
	version   string
	java      int         // the least that runs it
	artifacts [][3]string // group, name, version, of which Maven finds all the rest
	sums      map[string]string
}

// pins reads the table. A fault in it is a fault of the build.
func pins() ([]pin, error) {
	entries, err := pinFiles.ReadDir("pins")
	if err != nil {
		return nil, fmt.Errorf("pinned versions: %w", err)
	}
	var all []pin
	for _, e := range entries {
		text, err := pinFiles.ReadFile(path.Join("pins", e.Name()))
		if err != nil {
			return nil, fmt.Errorf("pinned versions: %w", err)
		}
		p, err := parsePin(strings.TrimSuffix(e.Name(), ".txt"), string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func parsePin(version, text string) (pin, error) {
	p := pin{version: version, sums: map[string]string{}}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		bad := fmt.Errorf("pinned version %s: bad line %q", version, line)
		switch {
		case len(f) == 2 && f[0] == "java":
			n, err := strconv.Atoi(f[1])
			if err != nil {
				return pin{}, bad
			}
			p.java = n
		case len(f) == 2 && f[0] == "artifact":
			parts := strings.Split(f[1], ":")
			if len(parts) != 3 {
				return pin{}, bad
			}
			p.artifacts = append(p.artifacts, [3]string(parts))
		case len(f) == 3 && f[0] == "jar" && len(f[1]) == 64 && path.Base(f[2]) == f[2]:
			p.sums[f[2]] = f[1]
		default:
			return pin{}, bad
		}
	}
	if p.java == 0 || len(p.artifacts) == 0 || len(p.sums) == 0 {
		return pin{}, fmt.Errorf("pinned version %s: incomplete", version)
	}
	return p, nil
}

// pom is the project whose runtime dependencies are the version's jars.
func (p pin) pom() string {
	var b strings.Builder
	b.WriteString(`<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>` +
		`<groupId>millrace</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging><dependencies>` + "\n")
	for _, a := range p.artifacts {
		fmt.Fprintf(&b, "<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>\n", a[0], a[1], a[2])
	}
	b.WriteString("</dependencies></project>\n")
	return b.String()
}
