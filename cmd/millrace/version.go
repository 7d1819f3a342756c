package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"millrace/cmd/terminal"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := map[string]string{"version": version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						v["revision"] = s.Value
					}
				}
			}
			if a.Output == terminal.JSON {
				return a.PrintJSON(v)
			}
			a.Say("millrace %s %s %s", v["version"], v["platform"], v["go"])
			return nil
		},
	}
}
