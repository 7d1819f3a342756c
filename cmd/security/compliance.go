package security

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"millrace/cmd/api"
	"millrace/cmd/remote"
	"millrace/cmd/terminal"
	"millrace/secure/comply"
)

// errNotCompliant: a control failed.
var errNotCompliant = errors.New("controls failed")

func (a *verbs) complianceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "compliance",
		Short: "Check the installation against the controls of a standard",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.complianceReport())
	return cmd
}

func (a *verbs) complianceReport() *cobra.Command {
	var f remote.Flags
	var standard, page string
	cmd := &cobra.Command{
		Use:   "report --standard " + strings.Join(comply.Standards(), "|"),
		Short: "Say which controls pass and fail, what shows it, and what to do",
		Long: `Check the running state against the controls that a standard asks for: encryption, logins, access, rights that nobody
uses, the audit trail, backups, audits of the data, retention.

A control passes only where its facts are known; otherwise it is shown as unknown. The report covers what a streaming
service can meet or miss, and is no certificate.

The exit status is 0 when nothing failed, 1 otherwise.`,
		Example: `  millrace compliance report --standard soc2
  millrace compliance report --standard pci-dss --output json
  millrace compliance report --standard gdpr --page report.html`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var report comply.Report
			if _, err := comply.Check(standard, comply.State{}); err != nil {
				return fmt.Errorf("%w: --standard: %w", terminal.ErrUsage, err)
			}
			if err := f.Ask(cmd.Context(), http.MethodGet, api.Compliance+"?standard="+url.QueryEscape(standard), nil, &report); err != nil {
				return err
			}
			return a.printCompliance(report, page)
		},
	}
	f.Add(cmd)
	cmd.Flags().StringVar(&standard, "standard", "", "one of "+strings.Join(comply.Standards(), ", ")+"; required")
	cmd.Flags().StringVar(&page, "page", "", "write a page for a printer to this file too, as HTML")
	return cmd
}

func (a *verbs) printCompliance(report comply.Report, page string) error {
	if page != "" {
		var html bytes.Buffer
		if err := report.WriteHTML(&html); err != nil {
			return err
		}
		if err := os.WriteFile(page, html.Bytes(), 0o600); err != nil {
			return fmt.Errorf("--page: %w", err)
		}
	}
	var rows []table.Row
	for _, r := range report.Results {
		evidence := strings.Join(r.Evidence, "\n")
		if r.Advice != "" {
			evidence += "\n-> " + r.Advice
		}
		rows = append(rows, table.Row{r.Title, r.Asked, r.Status, evidence})
	}
	if err := a.Print(report, table.Row{report.Title, "Asked by", "Result", "Evidence"}, rows); err != nil {
		return err
	}
	a.Say("%d passed, %d failed, %d unknown.", report.Passed, report.Failed, report.Unknown)
	if report.Failed > 0 {
		return fmt.Errorf("%w: %d of %d", errNotCompliant, report.Failed, len(report.Results))
	}
	return nil
}
