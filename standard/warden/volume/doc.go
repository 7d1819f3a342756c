// Package volume decides about the storage of brokers: when it is to be announced that it fills, when it is to be made larger, and when
// those who write are to be held back before it is full.
//
// Flow: what each broker has used of its volume, a Policy and the State of before -> Decide -> Decision and the State to keep. warden
// measures (Warden.Disks) and holds back (Warden.Hold); who owns the cluster's specs makes volumes larger.
//
// Invariants, each with a test:
//
//	O1  A volume never shrinks, never grows beyond Policy.Most nor Largest, and by no less than 10 GiB and 10 % where these let it.
//	O2  Between two growths lies Policy.Cooldown, whoever asked for the first, and however often Decide is called.
//	O3  Who writes is held back before a volume is full, the more the fuller it is, and let go only when it is clearly emptier again:
//	    a volume at a threshold does not go to and fro.
//	O4  One volume that is fuller than the others decides for all: replicas of one partition are written on several of them.
//
// All is pure; time is an argument. Files: volume.go.
package volume
