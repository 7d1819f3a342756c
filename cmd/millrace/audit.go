package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"millrace/cmd/operate"
	"millrace/cmd/parts"
	"millrace/cmd/remote"
	"millrace/cmd/security"
	"millrace/cmd/terminal"
)

// auditConfig is what `millrace audit` can be told.
type auditConfig struct {
	remote.Flags
	rate, pace string
	last       bool
	offline    bool
	data       string
	etcd       string
	store      string
	kms        string
}

func (a *app) auditCommand() *cobra.Command {
	var cfg auditConfig
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Check that everything that was acknowledged is there; show who did what",
		Long: `Have the brokers read all that they keep: the log and the segments of each
partition, to the last byte, the manifests, and what the store holds besides. The
checksum of every batch is computed, offsets must follow each other, leader epochs
ascend and producers' sequences go on.

Brokers also audit by themselves, slowly (8 MiB/s, see --pace); --last shows what they
found without asking for another look.

With --offline no broker is asked: manifests and segments are read from etcd and the
store. The brokers' logs are not looked at then. With --data the etcd of "millrace
serve" is used, which may run or not.

The exit status is 0 when all is well, 1 when a fault was found or something could not
be checked, 2 on bad usage.

The audit trail, of who did what, is shown by "audit log"; "audit verify" checks it, and
"audit alerts" shows what the rules on it found.`,
		Example: `  millrace audit
  millrace audit --last --output json
  millrace audit --rate 200MiB
  millrace audit --pace off
  millrace audit --offline --data millrace-data
  millrace audit --offline --etcd http://10.0.0.1:2379 --store s3://bucket/prefix`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rate, pace, err := cfg.validate()
			if err != nil {
				return err
			}
			asked := operate.Audit{IO: &a.IO, Flags: cfg.Flags}
			switch {
			case cfg.offline:
				return a.auditOffline(cmd.Context(), cfg, rate, cmd.Flags().Changed("rate"))
			case cfg.pace != "":
				return asked.Pace(cmd.Context(), pace)
			case cfg.last:
				return asked.Last(cmd.Context())
			}
			return asked.Ask(cmd.Context(), rate)
		},
	}
	cmd.AddCommand(append(security.TrailCommands(&a.IO), a.trailVerify())...)
	cfg.Add(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&cfg.NoWait, "no-wait", false, "return once the brokers were asked")
	flags.BoolVar(&cfg.last, "last", false, "show what the last audits found, and ask for none")
	flags.StringVar(&cfg.rate, "rate", "64MiB", "bytes that each broker reads in a second, such as 64MiB")
	flags.StringVar(&cfg.pace, "pace", "", "set how fast brokers audit by themselves from now on, in bytes per second, or off")
	flags.BoolVar(&cfg.offline, "offline", false, "ask no broker; read from etcd and the store")
	flags.StringVar(&cfg.data, "data", "", "with --offline: the directory of millrace serve")
	flags.StringVar(&cfg.etcd, "etcd", "", "with --offline: URLs of an etcd cluster, separated by commas; empty: the one in --data")
	parts.KMSFlag(flags, &cfg.kms)
	flags.StringVar(&cfg.store, "store", "", "with --offline: the object store as for millrace serve; empty: the folder in --data")
	return cmd
}

func (c *auditConfig) validate() (rate, pace int64, err error) {
	var faults []error
	if rate, err = parseRate(c.rate); err != nil || rate < 0 {
		faults = append(faults, fmt.Errorf("--rate %q: use a number of bytes such as 64MiB", c.rate))
	}
	if pace, err = parseRate(c.pace); c.pace != "" && (err != nil || pace == 0) {
		faults = append(faults, fmt.Errorf("--pace %q: use a number of bytes such as 8MiB, or off", c.pace))
	}
	if c.offline {
		faults = append(faults, checkStores(c.data, c.etcd, c.store)...)
		if c.last || c.pace != "" || c.NoWait {
			faults = append(faults, errors.New("--offline goes without --last, --pace and --no-wait"))
		}
	} else if c.data != "" || c.etcd != "" || c.store != "" {
		faults = append(faults, errors.New("--data, --etcd and --store are for --offline"))
	}
	if err := errors.Join(faults...); err != nil {
		return 0, 0, fmt.Errorf("%w:\n%w", terminal.ErrUsage, err)
	}
	return rate, pace, nil
}

// checkStores says what is missing to reach etcd and the store.
func checkStores(data, etcd, store string) (faults []error) {
	if data == "" && (etcd == "" || store == "") {
		faults = append(faults, errors.New("give --data, or --etcd and --store"))
	}
	if store != "" {
		if err := parts.CheckStore(store); err != nil {
			faults = append(faults, fmt.Errorf("--store %q: %w", store, err))
		}
	}
	return faults
}

// parseRate reads bytes per second: 1048576, 1MiB, 1MB; off is -1.
func parseRate(text string) (int64, error) {
	if text == "off" {
		return -1, nil
	}
	number, unit := text, int64(1)
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}} {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, unit = n, u.bytes
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil || n < 0 || n > 1<<40/unit {
		return 0, fmt.Errorf("%q is no number of bytes", text)
	}
	return n * unit, nil
}
