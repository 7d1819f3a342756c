package capacity

import "time"

// Point is one look at a cluster: its load beside what its brokers bear.
type Point struct {
	At       time.Time `json:"at"`
	Brokers  int       `json:"brokers"`           // that there were
	Reports  int       `json:"reports"`           // brokers that told of their load
	Want     int       `json:"want"`              // that there should be
	Why      string    `json:"why,omitempty"`     // where that is another number
	Load     Worth     `json:"load"`              // of all
	Capacity Worth     `json:"capacity"`          // that the brokers bear in the long run
	Held     int64     `json:"held,omitempty"`    // how often clients were told to wait since the look before
	Refused  string    `json:"refused,omitempty"` // why the plane did not scale
}

// ring keeps the latest points.
type ring struct {
	points []Point
	next   int
}

func (r *ring) add(p Point, most int) {
	if len(r.points) < most {
		r.points = append(r.points, p)
		return
	}
	r.points[r.next] = p
	r.next = (r.next + 1) % len(r.points)
}

// all returns the points, the oldest first.
func (r *ring) all() []Point {
	return append(append([]Point(nil), r.points[r.next:]...), r.points[:r.next]...)
}

func (w Worth) times(n int) Worth {
	f := float64(n)
	return Worth{In: w.In * f, Out: w.Out * f, Requests: w.Requests * f, Connections: w.Connections * f, Partitions: w.Partitions * f}
}
