package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"millrace/engine"
	"millrace/express/catalog"
	"millrace/kafka/server"
)

// door is a listener that is open.
type door struct {
	way  engine.Listener
	ln   net.Listener
	told catalog.Endpoint // where clients that came by it reach the broker
}

// doors are all of a broker's, at least one.
type doors []door

// listeners are those of the configuration, checked.
func (c Config) listeners() ([]engine.Listener, error) {
	all := c.Listeners
	if len(all) == 0 {
		all = []engine.Listener{{Name: engine.Client, Address: c.Listen}}
	}
	if err := engine.CheckListeners(all); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return all, nil
}

// listen opens all listeners, or none.
func listen(ctx context.Context, cfg Config, w World) (_ doors, err error) {
	ways, err := cfg.listeners()
	if err != nil {
		return nil, err
	}
	var all doors
	defer func() {
		if err != nil {
			err = errors.Join(err, all.close())
		}
	}()
	for _, way := range ways {
		d, err := openDoor(ctx, way, w)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

func openDoor(ctx context.Context, way engine.Listener, w World) (door, error) {
	open := w.Listen
	if open == nil {
		open = new(net.ListenConfig).Listen
	}
	ln, err := open(ctx, "tcp", way.Address)
	if err != nil {
		return door{}, fmt.Errorf("listen: %w", err)
	}
	told, err := toldOf(way, ln.Addr().String())
	if err != nil {
		return door{}, errors.Join(err, ln.Close())
	}
	return door{way: way, ln: w.Secure.encrypt(ln, way), told: told}, nil
}

// toldOf is what clients of a listener are told; its own port where that was any.
func toldOf(way engine.Listener, bound string) (catalog.Endpoint, error) {
	host, text, err := net.SplitHostPort(way.Told())
	if err != nil {
		return catalog.Endpoint{}, fmt.Errorf("%w: address %q: %w", ErrConfig, way.Told(), err)
	}
	if text == "0" {
		if _, text, err = net.SplitHostPort(bound); err != nil {
			return catalog.Endpoint{}, fmt.Errorf("%w: address %q: %w", ErrConfig, bound, err)
		}
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return catalog.Endpoint{}, fmt.Errorf("%w: port %q: %w", ErrConfig, text, err)
	}
	return catalog.Endpoint{Listener: way.Name, Host: host, Port: int32(port)}, nil
}

// serve takes connections at every door until the server closes, or one of them fails.
func (ds doors) serve(ctx context.Context, s *server.Server) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, d := range ds {
		g.Go(func() error { return s.Serve(ctx, d.way.Name, d.ln) })
	}
	return g.Wait()
}

func (ds doors) close() error {
	var errs []error
	for _, d := range ds {
		errs = append(errs, d.ln.Close())
	}
	return errors.Join(errs...)
}

// told is where clients reach the broker, for the log.
func (ds doors) told() string {
	var all []string
	for _, d := range ds {
		all = append(all, d.address())
	}
	return strings.Join(all, ",")
}

func (d door) address() string {
	return net.JoinHostPort(d.told.Host, strconv.Itoa(int(d.told.Port)))
}

// broker is how the broker registers. The first door is what those are told who know of one only.
func (ds doors) broker(id int32, incarnation uint64, zone string) catalog.Broker {
	first := ds[0].told
	b := catalog.Broker{ID: id, Incarnation: incarnation, Host: first.Host, Port: first.Port, Rack: zone}
	if len(ds) == 1 && first.Listener == catalog.Client {
		return b
	}
	for _, d := range ds {
		b.Endpoints = append(b.Endpoints, d.told)
	}
	return b
}

// facts are the listeners as DescribeConfigs names them. A broker with the one of PLAINTEXT names it as Apache Kafka does by default.
func (ds doors) facts() map[string]string {
	if len(ds) == 1 && ds[0].way.Name == engine.Client && ds[0].way.Protocol() == "PLAINTEXT" {
		l := "PLAINTEXT://" + ds[0].address()
		return map[string]string{"listeners": l, "advertised.listeners": l}
	}
	var bound, told []string
	for _, d := range ds {
		bound = append(bound, d.way.Name+"://"+d.way.Address)
		told = append(told, d.way.Name+"://"+d.address())
	}
	return map[string]string{"listeners": strings.Join(bound, ","), "advertised.listeners": strings.Join(told, ",")}
}
