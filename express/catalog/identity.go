package catalog

import "time"

// IdentityKey is where a cluster's identity lies, below Config.Prefix.
const IdentityKey = "cluster"

// Identity gives the record of a cluster that is to have this id: whoever makes the cluster may write it, where there is none, before the
// first broker's Open does. log is as Config.Log; "" is LogFile.
func Identity(id string, log LogKind, made time.Time) []byte {
	if log == "" {
		log = LogFile
	}
	return encode(clusterRecord{Version: formatVersion, ID: id, Created: made.UnixMilli(), Log: log})
}

// IdentityOf reads the id from such a record. It returns ErrNewer for one of a newer version.
func IdentityOf(record []byte) (string, error) {
	r, err := readCluster(record)
	return r.ID, err
}
