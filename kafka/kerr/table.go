package kerr

// The codes of the Kafka protocol, by number. The text of each stands in the table below.
const (
	None Code = 0 // no error

	UnknownServerError                     Code = -1  // UNKNOWN_SERVER_ERROR
	OffsetOutOfRange                       Code = 1   // OFFSET_OUT_OF_RANGE
	CorruptMessage                         Code = 2   // CORRUPT_MESSAGE
	UnknownTopicOrPartition                Code = 3   // UNKNOWN_TOPIC_OR_PARTITION
	InvalidFetchSize                       Code = 4   // INVALID_FETCH_SIZE
	LeaderNotAvailable                     Code = 5   // LEADER_NOT_AVAILABLE
	NotLeaderOrFollower                    Code = 6   // NOT_LEADER_OR_FOLLOWER
	RequestTimedOut                        Code = 7   // REQUEST_TIMED_OUT
	BrokerNotAvailable                     Code = 8   // BROKER_NOT_AVAILABLE
	ReplicaNotAvailable                    Code = 9   // REPLICA_NOT_AVAILABLE
	MessageTooLarge                        Code = 10  // MESSAGE_TOO_LARGE
	StaleControllerEpoch                   Code = 11  // STALE_CONTROLLER_EPOCH
	OffsetMetadataTooLarge                 Code = 12  // OFFSET_METADATA_TOO_LARGE
	NetworkException                       Code = 13  // NETWORK_EXCEPTION
	CoordinatorLoadInProgress              Code = 14  // COORDINATOR_LOAD_IN_PROGRESS
	CoordinatorNotAvailable                Code = 15  // COORDINATOR_NOT_AVAILABLE
	NotCoordinator                         Code = 16  // NOT_COORDINATOR
	InvalidTopicException                  Code = 17  // INVALID_TOPIC_EXCEPTION
	RecordListTooLarge                     Code = 18  // RECORD_LIST_TOO_LARGE
	NotEnoughReplicas                      Code = 19  // NOT_ENOUGH_REPLICAS
	NotEnoughReplicasAfterAppend           Code = 20  // NOT_ENOUGH_REPLICAS_AFTER_APPEND
	InvalidRequiredAcks                    Code = 21  // INVALID_REQUIRED_ACKS
	IllegalGeneration                      Code = 22  // ILLEGAL_GENERATION
	InconsistentGroupProtocol              Code = 23  // INCONSISTENT_GROUP_PROTOCOL
	InvalidGroupID                         Code = 24  // INVALID_GROUP_ID
	UnknownMemberID                        Code = 25  // UNKNOWN_MEMBER_ID
	InvalidSessionTimeout                  Code = 26  // INVALID_SESSION_TIMEOUT
	RebalanceInProgress                    Code = 27  // REBALANCE_IN_PROGRESS
	InvalidCommitOffsetSize                Code = 28  // INVALID_COMMIT_OFFSET_SIZE
	TopicAuthorizationFailed               Code = 29  // TOPIC_AUTHORIZATION_FAILED
	GroupAuthorizationFailed               Code = 30  // GROUP_AUTHORIZATION_FAILED
	ClusterAuthorizationFailed             Code = 31  // CLUSTER_AUTHORIZATION_FAILED
	InvalidTimestamp                       Code = 32  // INVALID_TIMESTAMP
	UnsupportedSaslMechanism               Code = 33  // UNSUPPORTED_SASL_MECHANISM
	IllegalSaslState                       Code = 34  // ILLEGAL_SASL_STATE
	UnsupportedVersion                     Code = 35  // UNSUPPORTED_VERSION
	TopicAlreadyExists                     Code = 36  // TOPIC_ALREADY_EXISTS
	InvalidPartitions                      Code = 37  // INVALID_PARTITIONS
	InvalidReplicationFactor               Code = 38  // INVALID_REPLICATION_FACTOR
	InvalidReplicaAssignment               Code = 39  // INVALID_REPLICA_ASSIGNMENT
	InvalidConfig                          Code = 40  // INVALID_CONFIG
	NotController                          Code = 41  // NOT_CONTROLLER
	InvalidRequest                         Code = 42  // INVALID_REQUEST
	UnsupportedForMessageFormat            Code = 43  // UNSUPPORTED_FOR_MESSAGE_FORMAT
	PolicyViolation                        Code = 44  // POLICY_VIOLATION
	OutOfOrderSequenceNumber               Code = 45  // OUT_OF_ORDER_SEQUENCE_NUMBER
	DuplicateSequenceNumber                Code = 46  // DUPLICATE_SEQUENCE_NUMBER
	InvalidProducerEpoch                   Code = 47  // INVALID_PRODUCER_EPOCH
	InvalidTxnState                        Code = 48  // INVALID_TXN_STATE
	InvalidProducerIDMapping               Code = 49  // INVALID_PRODUCER_ID_MAPPING
	InvalidTransactionTimeout              Code = 50  // INVALID_TRANSACTION_TIMEOUT
	ConcurrentTransactions                 Code = 51  // CONCURRENT_TRANSACTIONS
	TransactionCoordinatorFenced           Code = 52  // TRANSACTION_COORDINATOR_FENCED
	TransactionalIDAuthorizationFailed     Code = 53  // TRANSACTIONAL_ID_AUTHORIZATION_FAILED
	SecurityDisabled                       Code = 54  // SECURITY_DISABLED
	OperationNotAttempted                  Code = 55  // OPERATION_NOT_ATTEMPTED
	KafkaStorageError                      Code = 56  // KAFKA_STORAGE_ERROR
	LogDirNotFound                         Code = 57  // LOG_DIR_NOT_FOUND
	SaslAuthenticationFailed               Code = 58  // SASL_AUTHENTICATION_FAILED
	UnknownProducerID                      Code = 59  // UNKNOWN_PRODUCER_ID
	ReassignmentInProgress                 Code = 60  // REASSIGNMENT_IN_PROGRESS
	DelegationTokenAuthDisabled            Code = 61  // DELEGATION_TOKEN_AUTH_DISABLED
	DelegationTokenNotFound                Code = 62  // DELEGATION_TOKEN_NOT_FOUND
	DelegationTokenOwnerMismatch           Code = 63  // DELEGATION_TOKEN_OWNER_MISMATCH
	DelegationTokenRequestNotAllowed       Code = 64  // DELEGATION_TOKEN_REQUEST_NOT_ALLOWED
	DelegationTokenAuthorizationFailed     Code = 65  // DELEGATION_TOKEN_AUTHORIZATION_FAILED
	DelegationTokenExpired                 Code = 66  // DELEGATION_TOKEN_EXPIRED
	InvalidPrincipalType                   Code = 67  // INVALID_PRINCIPAL_TYPE
	NonEmptyGroup                          Code = 68  // NON_EMPTY_GROUP
	GroupIDNotFound                        Code = 69  // GROUP_ID_NOT_FOUND
	FetchSessionIDNotFound                 Code = 70  // FETCH_SESSION_ID_NOT_FOUND
	InvalidFetchSessionEpoch               Code = 71  // INVALID_FETCH_SESSION_EPOCH
	ListenerNotFound                       Code = 72  // LISTENER_NOT_FOUND
	TopicDeletionDisabled                  Code = 73  // TOPIC_DELETION_DISABLED
	FencedLeaderEpoch                      Code = 74  // FENCED_LEADER_EPOCH
	UnknownLeaderEpoch                     Code = 75  // UNKNOWN_LEADER_EPOCH
	UnsupportedCompressionType             Code = 76  // UNSUPPORTED_COMPRESSION_TYPE
	StaleBrokerEpoch                       Code = 77  // STALE_BROKER_EPOCH
	OffsetNotAvailable                     Code = 78  // OFFSET_NOT_AVAILABLE
	MemberIDRequired                       Code = 79  // MEMBER_ID_REQUIRED
	PreferredLeaderNotAvailable            Code = 80  // PREFERRED_LEADER_NOT_AVAILABLE
	GroupMaxSizeReached                    Code = 81  // GROUP_MAX_SIZE_REACHED
	FencedInstanceID                       Code = 82  // FENCED_INSTANCE_ID
	EligibleLeadersNotAvailable            Code = 83  // ELIGIBLE_LEADERS_NOT_AVAILABLE
	ElectionNotNeeded                      Code = 84  // ELECTION_NOT_NEEDED
	NoReassignmentInProgress               Code = 85  // NO_REASSIGNMENT_IN_PROGRESS
	GroupSubscribedToTopic                 Code = 86  // GROUP_SUBSCRIBED_TO_TOPIC
	InvalidRecord                          Code = 87  // INVALID_RECORD
	UnstableOffsetCommit                   Code = 88  // UNSTABLE_OFFSET_COMMIT
	ThrottlingQuotaExceeded                Code = 89  // THROTTLING_QUOTA_EXCEEDED
	ProducerFenced                         Code = 90  // PRODUCER_FENCED
	ResourceNotFound                       Code = 91  // RESOURCE_NOT_FOUND
	DuplicateResource                      Code = 92  // DUPLICATE_RESOURCE
	UnacceptableCredential                 Code = 93  // UNACCEPTABLE_CREDENTIAL
	InconsistentVoterSet                   Code = 94  // INCONSISTENT_VOTER_SET
	InvalidUpdateVersion                   Code = 95  // INVALID_UPDATE_VERSION
	FeatureUpdateFailed                    Code = 96  // FEATURE_UPDATE_FAILED
	PrincipalDeserializationFailure        Code = 97  // PRINCIPAL_DESERIALIZATION_FAILURE
	SnapshotNotFound                       Code = 98  // SNAPSHOT_NOT_FOUND
	PositionOutOfRange                     Code = 99  // POSITION_OUT_OF_RANGE
	UnknownTopicID                         Code = 100 // UNKNOWN_TOPIC_ID
	DuplicateBrokerRegistration            Code = 101 // DUPLICATE_BROKER_REGISTRATION
	BrokerIDNotRegistered                  Code = 102 // BROKER_ID_NOT_REGISTERED
	InconsistentTopicID                    Code = 103 // INCONSISTENT_TOPIC_ID
	InconsistentClusterID                  Code = 104 // INCONSISTENT_CLUSTER_ID
	TransactionalIDNotFound                Code = 105 // TRANSACTIONAL_ID_NOT_FOUND
	FetchSessionTopicIDError               Code = 106 // FETCH_SESSION_TOPIC_ID_ERROR
	IneligibleReplica                      Code = 107 // INELIGIBLE_REPLICA
	NewLeaderElected                       Code = 108 // NEW_LEADER_ELECTED
	OffsetMovedToTieredStorage             Code = 109 // OFFSET_MOVED_TO_TIERED_STORAGE
	FencedMemberEpoch                      Code = 110 // FENCED_MEMBER_EPOCH
	UnreleasedInstanceID                   Code = 111 // UNRELEASED_INSTANCE_ID
	UnsupportedAssignor                    Code = 112 // UNSUPPORTED_ASSIGNOR
	StaleMemberEpoch                       Code = 113 // STALE_MEMBER_EPOCH
	MismatchedEndpointType                 Code = 114 // MISMATCHED_ENDPOINT_TYPE
	UnsupportedEndpointType                Code = 115 // UNSUPPORTED_ENDPOINT_TYPE
	UnknownControllerID                    Code = 116 // UNKNOWN_CONTROLLER_ID
	UnknownSubscriptionID                  Code = 117 // UNKNOWN_SUBSCRIPTION_ID
	TelemetryTooLarge                      Code = 118 // TELEMETRY_TOO_LARGE
	InvalidRegistration                    Code = 119 // INVALID_REGISTRATION
	TransactionAbortable                   Code = 120 // TRANSACTION_ABORTABLE
	InvalidRecordState                     Code = 121 // INVALID_RECORD_STATE
	ShareSessionNotFound                   Code = 122 // SHARE_SESSION_NOT_FOUND
	InvalidShareSessionEpoch               Code = 123 // INVALID_SHARE_SESSION_EPOCH
	FencedStateEpoch                       Code = 124 // FENCED_STATE_EPOCH
	InvalidVoterKey                        Code = 125 // INVALID_VOTER_KEY
	DuplicateVoter                         Code = 126 // DUPLICATE_VOTER
	VoterNotFound                          Code = 127 // VOTER_NOT_FOUND
	InvalidRegularExpression               Code = 128 // INVALID_REGULAR_EXPRESSION
	RebootstrapRequired                    Code = 129 // REBOOTSTRAP_REQUIRED
	StreamsInvalidTopology                 Code = 130 // STREAMS_INVALID_TOPOLOGY
	StreamsInvalidTopologyEpoch            Code = 131 // STREAMS_INVALID_TOPOLOGY_EPOCH
	StreamsTopologyFenced                  Code = 132 // STREAMS_TOPOLOGY_FENCED
	ShareSessionLimitReached               Code = 133 // SHARE_SESSION_LIMIT_REACHED
	GroupDeletionFailed                    Code = 134 // GROUP_DELETION_FAILED
	StreamsTopologyDescriptionUpdateFailed Code = 135 // STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED
	ControllerIDNotRegistered              Code = 136 // CONTROLLER_ID_NOT_REGISTERED
)

// entry is what the protocol says of one code.
type entry struct {
	name      string
	retriable bool
	message   string
}

// table holds the entry of code c at index c+1, because the lowest code is -1. It is never changed.
var table = [...]entry{
	UnknownServerError + 1:                     {"UNKNOWN_SERVER_ERROR", false, "the broker met an error it did not expect"},
	None + 1:                                   {"NONE", false, "no error"},
	OffsetOutOfRange + 1:                       {"OFFSET_OUT_OF_RANGE", false, "the offset lies outside what the partition holds"},
	CorruptMessage + 1:                         {"CORRUPT_MESSAGE", true, "the records fail their checksum or size, or are otherwise corrupt"},
	UnknownTopicOrPartition + 1:                {"UNKNOWN_TOPIC_OR_PARTITION", true, "this broker does not know the topic or partition"},
	InvalidFetchSize + 1:                       {"INVALID_FETCH_SIZE", false, "the fetch size is not valid"},
	LeaderNotAvailable + 1:                     {"LEADER_NOT_AVAILABLE", true, "the partition has no leader at present"},
	NotLeaderOrFollower + 1:                    {"NOT_LEADER_OR_FOLLOWER", true, "this broker does not lead the partition"},
	RequestTimedOut + 1:                        {"REQUEST_TIMED_OUT", true, "the request timed out"},
	BrokerNotAvailable + 1:                     {"BROKER_NOT_AVAILABLE", false, "the broker is not available"},
	ReplicaNotAvailable + 1:                    {"REPLICA_NOT_AVAILABLE", true, "the replica is not available"},
	MessageTooLarge + 1:                        {"MESSAGE_TOO_LARGE", false, "the records are larger than the topic or broker accepts"},
	StaleControllerEpoch + 1:                   {"STALE_CONTROLLER_EPOCH", false, "the controller has moved"},
	OffsetMetadataTooLarge + 1:                 {"OFFSET_METADATA_TOO_LARGE", false, "the metadata of the offset commit is too large"},
	NetworkException + 1:                       {"NETWORK_EXCEPTION", true, "the connection ended before a response came"},
	CoordinatorLoadInProgress + 1:              {"COORDINATOR_LOAD_IN_PROGRESS", true, "the coordinator is still loading"},
	CoordinatorNotAvailable + 1:                {"COORDINATOR_NOT_AVAILABLE", true, "the coordinator is not available"},
	NotCoordinator + 1:                         {"NOT_COORDINATOR", true, "this broker is not the coordinator"},
	InvalidTopicException + 1:                  {"INVALID_TOPIC_EXCEPTION", false, "the topic name is not valid or not allowed"},
	RecordListTooLarge + 1:                     {"RECORD_LIST_TOO_LARGE", false, "the records are larger than a segment"},
	NotEnoughReplicas + 1:                      {"NOT_ENOUGH_REPLICAS", true, "too few replicas are in sync"},
	NotEnoughReplicasAfterAppend + 1:           {"NOT_ENOUGH_REPLICAS_AFTER_APPEND", true, "the records were written to fewer replicas than required"},
	InvalidRequiredAcks + 1:                    {"INVALID_REQUIRED_ACKS", false, "acks must be -1, 0 or 1"},
	IllegalGeneration + 1:                      {"ILLEGAL_GENERATION", false, "the group generation is not the present one"},
	InconsistentGroupProtocol + 1:              {"INCONSISTENT_GROUP_PROTOCOL", false, "the member's protocols do not fit those of the group"},
	InvalidGroupID + 1:                         {"INVALID_GROUP_ID", false, "the group id is not valid"},
	UnknownMemberID + 1:                        {"UNKNOWN_MEMBER_ID", false, "the coordinator does not know this member"},
	InvalidSessionTimeout + 1:                  {"INVALID_SESSION_TIMEOUT", false, "the session timeout is outside the range the broker allows"},
	RebalanceInProgress + 1:                    {"REBALANCE_IN_PROGRESS", false, "the group is rebalancing; the member must rejoin"},
	InvalidCommitOffsetSize + 1:                {"INVALID_COMMIT_OFFSET_SIZE", false, "the offset commit is too large"},
	TopicAuthorizationFailed + 1:               {"TOPIC_AUTHORIZATION_FAILED", false, "not authorized for the topic"},
	GroupAuthorizationFailed + 1:               {"GROUP_AUTHORIZATION_FAILED", false, "not authorized for the group"},
	ClusterAuthorizationFailed + 1:             {"CLUSTER_AUTHORIZATION_FAILED", false, "not authorized for the cluster"},
	InvalidTimestamp + 1:                       {"INVALID_TIMESTAMP", false, "a record's timestamp is outside the accepted range"},
	UnsupportedSaslMechanism + 1:               {"UNSUPPORTED_SASL_MECHANISM", false, "the SASL mechanism is not enabled"},
	IllegalSaslState + 1:                       {"ILLEGAL_SASL_STATE", false, "the request is not allowed at this point of the login"},
	UnsupportedVersion + 1:                     {"UNSUPPORTED_VERSION", false, "this version of the API is not served"},
	TopicAlreadyExists + 1:                     {"TOPIC_ALREADY_EXISTS", false, "a topic of this name exists"},
	InvalidPartitions + 1:                      {"INVALID_PARTITIONS", false, "the number of partitions is not valid"},
	InvalidReplicationFactor + 1:               {"INVALID_REPLICATION_FACTOR", false, "the replication factor is not valid for this cluster"},
	InvalidReplicaAssignment + 1:               {"INVALID_REPLICA_ASSIGNMENT", false, "the replica assignment is not valid"},
	InvalidConfig + 1:                          {"INVALID_CONFIG", false, "the configuration is not valid"},
	NotController + 1:                          {"NOT_CONTROLLER", true, "this broker is not the controller"},
	InvalidRequest + 1:                         {"INVALID_REQUEST", false, "the request is malformed or contradicts itself"},
	UnsupportedForMessageFormat + 1:            {"UNSUPPORTED_FOR_MESSAGE_FORMAT", false, "the record format does not support the request"},
	PolicyViolation + 1:                        {"POLICY_VIOLATION", false, "the request breaks a policy of the cluster"},
	OutOfOrderSequenceNumber + 1:               {"OUT_OF_ORDER_SEQUENCE_NUMBER", false, "the producer's sequence number is out of order"},
	DuplicateSequenceNumber + 1:                {"DUPLICATE_SEQUENCE_NUMBER", false, "the producer's sequence number was used before"},
	InvalidProducerEpoch + 1:                   {"INVALID_PRODUCER_EPOCH", false, "the producer's epoch is old"},
	InvalidTxnState + 1:                        {"INVALID_TXN_STATE", false, "the transaction is in the wrong state for this request"},
	InvalidProducerIDMapping + 1:               {"INVALID_PRODUCER_ID_MAPPING", false, "the producer id does not belong to the transactional id"},
	InvalidTransactionTimeout + 1:              {"INVALID_TRANSACTION_TIMEOUT", false, "the transaction timeout is larger than the broker allows"},
	ConcurrentTransactions + 1:                 {"CONCURRENT_TRANSACTIONS", false, "another change of the same transaction is in progress"},
	TransactionCoordinatorFenced + 1:           {"TRANSACTION_COORDINATOR_FENCED", false, "the sender no longer coordinates this producer's transactions"},
	TransactionalIDAuthorizationFailed + 1:     {"TRANSACTIONAL_ID_AUTHORIZATION_FAILED", false, "not authorized for the transactional id"},
	SecurityDisabled + 1:                       {"SECURITY_DISABLED", false, "security features are off"},
	OperationNotAttempted + 1:                  {"OPERATION_NOT_ATTEMPTED", false, "the operation was not tried, because another one of the request failed"},
	KafkaStorageError + 1:                      {"KAFKA_STORAGE_ERROR", true, "the broker could not reach its storage"},
	LogDirNotFound + 1:                         {"LOG_DIR_NOT_FOUND", false, "the log directory does not exist"},
	SaslAuthenticationFailed + 1:               {"SASL_AUTHENTICATION_FAILED", false, "the login failed"},
	UnknownProducerID + 1:                      {"UNKNOWN_PRODUCER_ID", false, "the broker holds no state of this producer"},
	ReassignmentInProgress + 1:                 {"REASSIGNMENT_IN_PROGRESS", false, "a reassignment is in progress"},
	DelegationTokenAuthDisabled + 1:            {"DELEGATION_TOKEN_AUTH_DISABLED", false, "delegation tokens are off"},
	DelegationTokenNotFound + 1:                {"DELEGATION_TOKEN_NOT_FOUND", false, "the delegation token does not exist"},
	DelegationTokenOwnerMismatch + 1:           {"DELEGATION_TOKEN_OWNER_MISMATCH", false, "the principal neither owns nor may renew the delegation token"},
	DelegationTokenRequestNotAllowed + 1:       {"DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", false, "delegation token requests are not allowed on this connection"},
	DelegationTokenAuthorizationFailed + 1:     {"DELEGATION_TOKEN_AUTHORIZATION_FAILED", false, "not authorized for the delegation token"},
	DelegationTokenExpired + 1:                 {"DELEGATION_TOKEN_EXPIRED", false, "the delegation token has expired"},
	InvalidPrincipalType + 1:                   {"INVALID_PRINCIPAL_TYPE", false, "the principal type is not supported"},
	NonEmptyGroup + 1:                          {"NON_EMPTY_GROUP", false, "the group still has members"},
	GroupIDNotFound + 1:                        {"GROUP_ID_NOT_FOUND", false, "the group does not exist"},
	FetchSessionIDNotFound + 1:                 {"FETCH_SESSION_ID_NOT_FOUND", true, "the fetch session does not exist"},
	InvalidFetchSessionEpoch + 1:               {"INVALID_FETCH_SESSION_EPOCH", true, "the fetch session epoch is not valid"},
	ListenerNotFound + 1:                       {"LISTENER_NOT_FOUND", true, "the leader has no listener of the name this request came by"},
	TopicDeletionDisabled + 1:                  {"TOPIC_DELETION_DISABLED", false, "topics cannot be deleted here"},
	FencedLeaderEpoch + 1:                      {"FENCED_LEADER_EPOCH", true, "the leader epoch of the request is older than the broker's"},
	UnknownLeaderEpoch + 1:                     {"UNKNOWN_LEADER_EPOCH", true, "the leader epoch of the request is newer than the broker's"},
	UnsupportedCompressionType + 1:             {"UNSUPPORTED_COMPRESSION_TYPE", false, "the compression type is not supported for this request"},
	StaleBrokerEpoch + 1:                       {"STALE_BROKER_EPOCH", false, "the broker epoch has changed"},
	OffsetNotAvailable + 1:                     {"OFFSET_NOT_AVAILABLE", true, "the high watermark has not yet caught up after an election"},
	MemberIDRequired + 1:                       {"MEMBER_ID_REQUIRED", false, "the member must join again with the member id given here"},
	PreferredLeaderNotAvailable + 1:            {"PREFERRED_LEADER_NOT_AVAILABLE", true, "the preferred leader is not available"},
	GroupMaxSizeReached + 1:                    {"GROUP_MAX_SIZE_REACHED", false, "the group is full"},
	FencedInstanceID + 1:                       {"FENCED_INSTANCE_ID", false, "another member took over this group instance id"},
	EligibleLeadersNotAvailable + 1:            {"ELIGIBLE_LEADERS_NOT_AVAILABLE", true, "no eligible leader is available"},
	ElectionNotNeeded + 1:                      {"ELECTION_NOT_NEEDED", true, "the partition needs no election"},
	NoReassignmentInProgress + 1:               {"NO_REASSIGNMENT_IN_PROGRESS", false, "no reassignment is in progress"},
	GroupSubscribedToTopic + 1:                 {"GROUP_SUBSCRIBED_TO_TOPIC", false, "the group is subscribed to the topic, so its offsets cannot be deleted"},
	InvalidRecord + 1:                          {"INVALID_RECORD", false, "a record breaks the rules of the broker"},
	UnstableOffsetCommit + 1:                   {"UNSTABLE_OFFSET_COMMIT", true, "offsets of an open transaction are pending"},
	ThrottlingQuotaExceeded + 1:                {"THROTTLING_QUOTA_EXCEEDED", true, "the quota is used up"},
	ProducerFenced + 1:                         {"PRODUCER_FENCED", false, "a newer producer with the same transactional id exists"},
	ResourceNotFound + 1:                       {"RESOURCE_NOT_FOUND", false, "the resource does not exist"},
	DuplicateResource + 1:                      {"DUPLICATE_RESOURCE", false, "the request names a resource twice"},
	UnacceptableCredential + 1:                 {"UNACCEPTABLE_CREDENTIAL", false, "the credential does not meet the rules"},
	InconsistentVoterSet + 1:                   {"INCONSISTENT_VOTER_SET", false, "sender or recipient is not one of the expected voters"},
	InvalidUpdateVersion + 1:                   {"INVALID_UPDATE_VERSION", false, "the update version is not valid"},
	FeatureUpdateFailed + 1:                    {"FEATURE_UPDATE_FAILED", false, "the features could not be updated"},
	PrincipalDeserializationFailure + 1:        {"PRINCIPAL_DESERIALIZATION_FAILURE", false, "the forwarded principal could not be decoded"},
	SnapshotNotFound + 1:                       {"SNAPSHOT_NOT_FOUND", false, "the snapshot does not exist"},
	PositionOutOfRange + 1:                     {"POSITION_OUT_OF_RANGE", false, "the position lies outside the snapshot"},
	UnknownTopicID + 1:                         {"UNKNOWN_TOPIC_ID", true, "this broker does not know the topic id"},
	DuplicateBrokerRegistration + 1:            {"DUPLICATE_BROKER_REGISTRATION", false, "the broker id is in use"},
	BrokerIDNotRegistered + 1:                  {"BROKER_ID_NOT_REGISTERED", false, "the broker id is not registered"},
	InconsistentTopicID + 1:                    {"INCONSISTENT_TOPIC_ID", true, "the topic id is not that of the log"},
	InconsistentClusterID + 1:                  {"INCONSISTENT_CLUSTER_ID", false, "the cluster id is not that of this cluster"},
	TransactionalIDNotFound + 1:                {"TRANSACTIONAL_ID_NOT_FOUND", false, "the transactional id does not exist"},
	FetchSessionTopicIDError + 1:               {"FETCH_SESSION_TOPIC_ID_ERROR", true, "the fetch session mixes topic names and topic ids"},
	IneligibleReplica + 1:                      {"INELIGIBLE_REPLICA", false, "a replica is not eligible for the in-sync set"},
	NewLeaderElected + 1:                       {"NEW_LEADER_ELECTED", false, "the partition changed, and so did its leader"},
	OffsetMovedToTieredStorage + 1:             {"OFFSET_MOVED_TO_TIERED_STORAGE", false, "the offset now lies in tiered storage"},
	FencedMemberEpoch + 1:                      {"FENCED_MEMBER_EPOCH", false, "the member epoch is fenced; the member must give up its partitions and rejoin"},
	UnreleasedInstanceID + 1:                   {"UNRELEASED_INSTANCE_ID", false, "another member still uses the instance id"},
	UnsupportedAssignor + 1:                    {"UNSUPPORTED_ASSIGNOR", false, "the group does not support the assignor"},
	StaleMemberEpoch + 1:                       {"STALE_MEMBER_EPOCH", false, "the member epoch is stale; retry with the one of the next heartbeat"},
	MismatchedEndpointType + 1:                 {"MISMATCHED_ENDPOINT_TYPE", false, "the request came to an endpoint of the wrong type"},
	UnsupportedEndpointType + 1:                {"UNSUPPORTED_ENDPOINT_TYPE", false, "the endpoint type is not supported"},
	UnknownControllerID + 1:                    {"UNKNOWN_CONTROLLER_ID", false, "the controller id is not known"},
	UnknownSubscriptionID + 1:                  {"UNKNOWN_SUBSCRIPTION_ID", false, "the telemetry subscription is not valid or outdated"},
	TelemetryTooLarge + 1:                      {"TELEMETRY_TOO_LARGE", false, "the telemetry push is larger than the broker accepts"},
	InvalidRegistration + 1:                    {"INVALID_REGISTRATION", false, "the registration is not valid"},
	TransactionAbortable + 1:                   {"TRANSACTION_ABORTABLE", false, "the transaction met an error; abort it to go on with the same transactional id"},
	InvalidRecordState + 1:                     {"INVALID_RECORD_STATE", false, "the record is in the wrong state, so the acknowledgement failed"},
	ShareSessionNotFound + 1:                   {"SHARE_SESSION_NOT_FOUND", true, "the share session does not exist"},
	InvalidShareSessionEpoch + 1:               {"INVALID_SHARE_SESSION_EPOCH", true, "the share session epoch is not valid"},
	FencedStateEpoch + 1:                       {"FENCED_STATE_EPOCH", false, "the state epoch does not match"},
	InvalidVoterKey + 1:                        {"INVALID_VOTER_KEY", false, "the voter key does not match the replica's"},
	DuplicateVoter + 1:                         {"DUPLICATE_VOTER", false, "the voter is already in the set"},
	VoterNotFound + 1:                          {"VOTER_NOT_FOUND", false, "the voter is not in the set"},
	InvalidRegularExpression + 1:               {"INVALID_REGULAR_EXPRESSION", false, "the regular expression is not valid"},
	RebootstrapRequired + 1:                    {"REBOOTSTRAP_REQUIRED", false, "the client's metadata is stale; it must start again from its bootstrap servers"},
	StreamsInvalidTopology + 1:                 {"STREAMS_INVALID_TOPOLOGY", false, "the topology is not valid"},
	StreamsInvalidTopologyEpoch + 1:            {"STREAMS_INVALID_TOPOLOGY_EPOCH", false, "the topology epoch is not valid"},
	StreamsTopologyFenced + 1:                  {"STREAMS_TOPOLOGY_FENCED", false, "the topology epoch is outdated"},
	ShareSessionLimitReached + 1:               {"SHARE_SESSION_LIMIT_REACHED", true, "no more share sessions can be opened"},
	GroupDeletionFailed + 1:                    {"GROUP_DELETION_FAILED", false, "the group could not be deleted"},
	StreamsTopologyDescriptionUpdateFailed + 1: {"STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED", false, "the topology description could not be updated"},
	ControllerIDNotRegistered + 1:              {"CONTROLLER_ID_NOT_REGISTERED", false, "the controller id is not registered"},
}
