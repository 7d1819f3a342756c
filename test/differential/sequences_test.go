package differential

import "slices"

// sequences lists the scripts whose requests build on each other.
func sequences() []script {
	return slices.Concat(adminScripts(), recordScripts(), groupScripts(), transactionScripts(), protocolScripts(), frameScripts())
}
