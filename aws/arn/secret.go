package arn

import "strings"

// suffix is the random end of a secret's ARN, in characters.
const suffix = 6

// Secret is the ARN of a secret. tail is its random end, 6 letters or digits, by which two secrets of the same name, one after the other,
// differ.
func (h Home) Secret(name, tail string) string {
	return h.arn("secretsmanager", "secret:"+name+"-"+tail)
}

// FindSecret reads the ARN of a secret of this installation. The error is ErrForm or ErrElsewhere.
func (h Home) FindSecret(text string) (name, tail string, err error) {
	a, err := Split(text)
	full, ok := strings.CutPrefix(a.Resource, "secret:")
	if err != nil || !ok || a.Partition != "aws" || a.Service != "secretsmanager" {
		return "", "", ErrForm
	}
	cut := len(full) - suffix - 1
	if cut < 1 || full[cut] != '-' || !made(full[cut+1:], suffix, "", true) || !made(full[:cut], 512, "/_+=.@-", true) {
		return "", "", ErrForm
	}
	return full[:cut], full[cut+1:], h.owns(a.Region, a.Account)
}
