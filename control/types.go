package control

import "millrace/control/spec"

// The names of control/spec, where what they mean is told, for who uses the control plane.
type (
	// Cluster is the record of a cluster.
	Cluster = spec.Cluster
	// Managed is what it has of its life in the API.
	Managed = spec.Managed
	// Settings are what a cluster shall be, as the API is told it.
	Settings = spec.Settings
	// ClusterType says how a cluster is managed.
	ClusterType = spec.ClusterType
	// Phase is what a cluster goes through.
	Phase = spec.Phase
	// VPC is a network that a serverless cluster is said to be in.
	VPC = spec.VPC
	// Revision names one revision of a configuration.
	Revision = spec.Revision
	// OpenMetrics says what of Prometheus a cluster offers.
	OpenMetrics = spec.OpenMetrics
	// Fault is a code for programs and a sentence for people.
	Fault = spec.Fault
	// Address is what a node listens on.
	Address = spec.Address
	// Operation is long work on a cluster, step by step.
	Operation = spec.Operation
	// Request asks for an operation.
	Request = spec.Request
	// Step is one part of an operation.
	Step = spec.Step
	// Kind says what an operation does.
	Kind = spec.Kind
	// State says how far an operation or a step has come.
	State = spec.State
	// Action is what a step does with its nodes.
	Action = spec.Action
)

// ErrSpec: the cluster's description cannot be made so; the message says why.
var ErrSpec = spec.ErrSpec

// See control/spec.
const (
	MaxBrokers          = spec.MaxBrokers
	None                = spec.None
	DefaultKafkaVersion = spec.DefaultKafkaVersion

	Provisioned = spec.Provisioned
	Serverless  = spec.Serverless

	Creating    = spec.Creating
	Active      = spec.Active
	Updating    = spec.Updating
	Rebooting   = spec.Rebooting
	Healing     = spec.Healing
	Maintenance = spec.Maintenance
	Deleting    = spec.Deleting
	Broken      = spec.Broken

	LoginPlaintext = spec.LoginPlaintext
	LoginTLS       = spec.LoginTLS
	LoginMTLS      = spec.LoginMTLS
	LoginScram     = spec.LoginScram
	LoginIAM       = spec.LoginIAM
	SecureLogins   = spec.SecureLogins

	Scale   = spec.Scale
	Roll    = spec.Roll
	Upgrade = spec.Upgrade
	Logins  = spec.Logins
	Create  = spec.Create
	Delete  = spec.Delete
	Update  = spec.Update
	Reboot  = spec.Reboot
	Replace = spec.Replace
	Patch   = spec.Patch

	Pending = spec.Pending
	Running = spec.Running
	Done    = spec.Done
	Failed  = spec.Failed
)

// CurrentVersion is what the API calls the version of a cluster; see spec.CurrentVersion.
func CurrentVersion(c Cluster) string { return spec.CurrentVersion(c) }

// ParseAuth brings a list of logins into its one form; see spec.ParseAuth.
func ParseAuth(text string) (string, error) { return spec.ParseAuth(text) }

// Anonymous says whether somebody may come in without showing who they are.
func Anonymous(auth string) bool { return spec.Anonymous(auth) }

// Authorizes says whether a cluster with these logins asks what somebody may do.
func Authorizes(auth string) bool { return spec.Authorizes(auth) }
