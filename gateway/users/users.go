package users

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/gateway"
	"millrace/secure/scram"
	"millrace/secure/users"
)

// Own answers the keys about SCRAM users.
func Own(store *scram.Store) map[int16]gateway.Own {
	return map[int16]gateway.Own{
		int16(kmsg.DescribeUserSCRAMCredentials): func(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
			return users.Describe(store, req.(*kmsg.DescribeUserSCRAMCredentialsRequest)), nil
		},
		int16(kmsg.AlterUserSCRAMCredentials): func(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
			return users.Response(users.Alter(ctx, store, req.(*kmsg.AlterUserSCRAMCredentialsRequest), nil)), nil
		},
	}
}
