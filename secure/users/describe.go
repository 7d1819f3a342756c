package users

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/secure/scram"
)

// Describe answers DescribeUserScramCredentials. Nobody named means everybody; without a store (nil) nobody has credentials.
func Describe(store *scram.Store, req *kmsg.DescribeUserSCRAMCredentialsRequest) *kmsg.DescribeUserSCRAMCredentialsResponse {
	resp := kmsg.NewPtrDescribeUserSCRAMCredentialsResponse()
	resp.ErrorMessage = kmsg.StringPtr("") // as Apache Kafka says it
	if len(req.Users) == 0 {
		if store != nil {
			for _, name := range store.Users() {
				resp.Results = append(resp.Results, describe(store, name, 1))
			}
		}
		return resp
	}
	mentions := make(map[string]int, len(req.Users))
	for _, user := range req.Users {
		mentions[user.Name]++
	}
	for _, user := range req.Users {
		n := mentions[user.Name]
		if n == 0 { // Answered at its first mention.
			continue
		}
		delete(mentions, user.Name)
		resp.Results = append(resp.Results, describe(store, user.Name, n))
	}
	return resp
}

// describe tells what credentials a user has who was mentioned so many times.
func describe(store *scram.Store, name string, mentions int) kmsg.DescribeUserSCRAMCredentialsResponseResult {
	out := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
	out.User = name
	if mentions == 1 && store != nil {
		for _, i := range store.Describe(name) {
			info := kmsg.NewDescribeUserSCRAMCredentialsResponseResultCredentialInfo()
			info.Mechanism, info.Iterations = numbers()[i.Mechanism], int32(i.Iterations)
			out.CredentialInfos = append(out.CredentialInfos, info)
		}
	}
	switch {
	case mentions > 1:
		out.ErrorCode = int16(kerr.DuplicateResource)
		out.ErrorMessage = kmsg.StringPtr("Cannot describe SCRAM credentials for the same user twice in a single request: " + clip(name))
	case len(out.CredentialInfos) == 0:
		out.ErrorCode = int16(kerr.ResourceNotFound)
		out.ErrorMessage = kmsg.StringPtr("Attempt to describe a user credential that does not exist: " + clip(name))
	}
	return out
}

// codeOf is the code of an error of Alter.
func codeOf(err error) kerr.Code {
	var code kerr.Code
	switch {
	case errors.As(err, &code):
	case errors.Is(err, scram.ErrUnacceptable):
		code = kerr.UnacceptableCredential
	case errors.Is(err, scram.ErrFormat):
		code = kerr.UnsupportedVersion
	case errors.Is(err, scram.ErrUnavailable):
		code = kerr.RequestTimedOut
	default:
		code = kerr.UnknownServerError
	}
	return code
}
