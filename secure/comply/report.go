package comply

import "time"

// Report is what Check found.
type Report struct {
	Standard     string    `json:"standard"`
	Title        string    `json:"title"`
	Installation string    `json:"installation,omitempty"`
	Time         time.Time `json:"time"`
	Passed       int       `json:"passed"`
	Failed       int       `json:"failed"`
	Unknown      int       `json:"unknown"`
	Results      []Result  `json:"results"`
}

// Result is what came of one control.
type Result struct {
	Control  string   `json:"control"`
	Title    string   `json:"title"`
	Asked    string   `json:"asked"` // paragraphs of the standard
	Status   Status   `json:"status"`
	Evidence []string `json:"evidence"` // what shows it: of a failure, each fault
	Advice   string   `json:"advice,omitempty"`
}

// Check compares the state with what a standard asks for. It returns ErrStandard for a name that Standards does not list.
func Check(name string, s State) (Report, error) {
	std, err := find(name)
	if err != nil {
		return Report{}, err
	}
	r := Report{Standard: name, Title: std.title, Installation: s.Installation, Time: s.Time}
	for _, c := range controls() {
		asked, ok := std.asks[c.id]
		if !ok {
			continue
		}
		result := Result{Control: c.id, Title: c.title, Asked: asked}
		switch o := c.check(s); {
		case o.unknown != "":
			result.Status, result.Evidence, result.Advice = Unknown, []string{"not known: " + o.unknown}, "make the report with serve running, as somebody who may see it"
			r.Unknown++
		case len(o.faults) > 0:
			result.Status, result.Evidence, result.Advice = Fail, o.faults, c.advice
			r.Failed++
		default:
			result.Status, result.Evidence = Pass, []string{o.shown}
			r.Passed++
		}
		r.Results = append(r.Results, result)
	}
	return r, nil
}
