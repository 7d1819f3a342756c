package comply

import (
	"fmt"
	"html/template"
	"io"
)

// page is the report for a printer: no scripts, nothing from elsewhere.
const page = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}}</title>
<style>
body { font: 11pt/1.4 sans-serif; max-width: 60em; margin: 2em auto; color: #111; }
h1 { font-size: 16pt; margin-bottom: 0; } p.sub { color: #555; margin-top: .2em; }
table { border-collapse: collapse; width: 100%; } th, td { border-bottom: 1px solid #ccc; padding: .4em; text-align: left; vertical-align: top; }
tr { page-break-inside: avoid; } thead { display: table-header-group; } ul { margin: 0; padding-left: 1.2em; }
.pass { color: #060; } .fail { color: #a00; font-weight: bold; } .unknown { color: #850; }
.advice { color: #333; font-style: italic; }
</style></head><body>
<h1>{{.Title}}</h1>
<p class="sub">{{with .Installation}}{{.}}, {{end}}{{.Time.UTC.Format "2006-01-02 15:04:05 UTC"}}: {{.Passed}} passed, {{.Failed}} failed, {{.Unknown}} unknown.
Checked by millrace against the running state. It covers what a streaming service can meet or miss, and is no certificate.</p>
<table><thead><tr><th>Control</th><th>Asked by</th><th>Result</th><th>Evidence</th></tr></thead><tbody>
{{range .Results}}<tr><td>{{.Title}}</td><td>{{.Asked}}</td><td class="{{.Status}}">{{.Status}}</td>
<td><ul>{{range .Evidence}}<li>{{.}}</li>{{end}}</ul>{{with .Advice}}<p class="advice">What to do: {{.}}</p>{{end}}</td></tr>
{{end}}</tbody></table></body></html>
`

// WriteHTML writes the report as one page that stands by itself.
func (r Report) WriteHTML(w io.Writer) error {
	t, err := template.New("report").Parse(page)
	if err != nil {
		return fmt.Errorf("page of the report: %w", err)
	}
	return t.Execute(w, r)
}
