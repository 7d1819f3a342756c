package gateway

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/xdg-go/scram"

	"millrace/kafka/kerr"
	"millrace/secure/identity"
)

// login logs in to the broker by SCRAM, and checks that the broker knows the password, too.
func (w *wireConn) login(ctx context.Context, u User) error {
	hash := scram.SHA512
	if u.Mechanism == identity.ScramSHA256 {
		hash = scram.SHA256
	}
	client, err := hash.NewClient(u.Name, u.Password, "")
	if err != nil {
		return err
	}
	shake := kmsg.NewPtrSASLHandshakeRequest()
	shake.Version, shake.Mechanism = 1, string(u.Mechanism)
	resp, err := w.ask(ctx, shake)
	if err != nil {
		return err
	}
	if code := kerr.Code(resp.(*kmsg.SASLHandshakeResponse).ErrorCode); code != kerr.None {
		return code
	}
	talk := client.NewConversation()
	said := ""
	for !talk.Done() {
		say, err := talk.Step(said)
		if err != nil {
			return err
		}
		if talk.Done() {
			break
		}
		auth := kmsg.NewPtrSASLAuthenticateRequest()
		auth.Version, auth.SASLAuthBytes = 1, []byte(say)
		resp, err := w.ask(ctx, auth)
		if err != nil {
			return err
		}
		a := resp.(*kmsg.SASLAuthenticateResponse)
		if code := kerr.Code(a.ErrorCode); code != kerr.None {
			return fmt.Errorf("%s: %w", u, code)
		}
		said = string(a.SASLAuthBytes)
	}
	if !talk.Valid() {
		return errors.New("the broker does not know the password")
	}
	return nil
}
