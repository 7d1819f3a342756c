// Package secretsmanager is the door of AWS Secrets Manager: the part of its API (JSON 1.1) that the AWS CLI, SDKs and Terraform's
// aws_secretsmanager_secret and aws_secretsmanager_secret_version use.
//
// Flow: aws/door -> an operation here -> Secrets, which is secure/secret's Store. Service is what the door serves.
//
// Operations: CreateSecret, PutSecretValue, GetSecretValue, DescribeSecret, UpdateSecret, UpdateSecretVersionStage, ListSecrets,
// ListSecretVersionIds, DeleteSecret, RestoreSecret, TagResource, UntagResource, GetResourcePolicy, PutResourcePolicy,
// DeleteResourcePolicy.
//
// What differs from AWS: KmsKeyId is kept to be read back, all values are sealed with the installation's own keys; replicas are refused;
// there is no rotation; LastAccessedDate is not told; the resource policy is kept, and shown, and only identities' policies decide.
//
// SM1: It holds no rule of its own. SM2: A value goes nowhere but into the answer of GetSecretValue: not into the trail, nor into an error.
// SM3: Every error of the store has one of the service's own codes.
//
// Safe for concurrent use. Files: service.go (the table, what is asked of policies), shapes.go, errors.go, secrets.go, values.go, list.go,
// policies.go.
package secretsmanager
