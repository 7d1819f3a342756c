#!/usr/bin/env bash
# Goes through every operation of the MSK API with the AWS CLI, against a running `millrace serve`. The environment has the endpoint, the region and
# the keys, as `millrace env` gives them; AWS is the path of the program. It prints one line of JSON with the operations that it has called.
set -euo pipefail
export AWS_PAGER='' AWS_MAX_ATTEMPTS=2

readonly calls=$1
ask() { # OPERATION ARGUMENT...: the answer
    echo "$1" >>"$calls"
    "$AWS" kafka "$@"
}
get() { # OPERATION QUERY ARGUMENT...: a part of the answer
    local operation=$1 query=$2
    shift 2
    ask "$operation" --query "$query" --output text "$@"
}
want() { # GOT WANTED WHAT
    if [[ $1 != "$2" ]]; then
        echo "$3: $1, want $2" >&2
        exit 1
    fi
}
refused() { # CODE OPERATION ARGUMENT...
    local code=$1 said
    shift
    if said=$(ask "$@" 2>&1); then
        echo "$1 was answered, want $code" >&2
        exit 1
    fi
    if [[ $said != *"($code)"* ]]; then
        echo "$said, want $code" >&2
        exit 1
    fi
}
active() {
    local state
    for _ in {1..200}; do
        state=$(get describe-cluster-v2 ClusterInfo.State --cluster-arn "$1")
        if [[ $state == ACTIVE ]]; then return; fi
        want "$state" CREATING "$1"
    done
    exit 1
}
updated() { # waits for an operation
    local state
    for _ in {1..200}; do
        state=$(get describe-cluster-operation ClusterOperationInfo.OperationState --cluster-operation-arn "$1")
        if [[ $state == UPDATE_COMPLETE ]]; then return; fi
        if [[ $state != UPDATE_IN_PROGRESS && $state != PENDING && $state != REBOOT_IN_PROGRESS ]]; then
            echo "$1 is $state" >&2
            exit 1
        fi
    done
    exit 1
}
version() { get describe-cluster ClusterInfo.CurrentVersion --cluster-arn "$cluster"; }
update() { # OPERATION ARGUMENT...: an update of the cluster, to its end
    local operation=$1
    shift
    updated "$(get "$operation" ClusterOperationArn --cluster-arn "$cluster" --current-version "$(version)" "$@")"
}

nodes='{"ClientSubnets":["subnet-a","subnet-b","subnet-c"],"InstanceType":"express.m7g.large"}'
cluster=$(get create-cluster-v2 ClusterArn --cluster-name cli --tags team=a \
    --provisioned "{\"BrokerNodeGroupInfo\":$nodes,\"KafkaVersion\":\"3.8.x\",\"NumberOfBrokerNodes\":3}")
active "$cluster"
older=$(get create-cluster ClusterArn --cluster-name older --broker-node-group-info "$nodes" --kafka-version 3.9.x --number-of-broker-nodes 3)
active "$older"
want "$(get list-clusters-v2 'ClusterInfoList[].ClusterName' --cluster-name-filter cli)" cli 'list of clusters'
want "$(get list-clusters 'ClusterInfoList[].ClusterName' --cluster-name-filter older)" older 'list of clusters'
bootstrap=$(get get-bootstrap-brokers BootstrapBrokerString --cluster-arn "$cluster")
want "$(tr ',' '\n' <<<"$bootstrap" | wc -l)" 3 'bootstrap brokers'
want "$(get list-nodes 'length(NodeInfoList)' --cluster-arn "$cluster")" 3 nodes

update update-broker-count --target-number-of-broker-nodes 6
update update-broker-type --target-instance-type express.m7g.xlarge
update update-monitoring --enhanced-monitoring PER_BROKER
update update-rebalancing --rebalancing Status=PAUSED
update update-security --client-authentication '{"Sasl":{"Scram":{"Enabled":true},"Iam":{"Enabled":true}},"Unauthenticated":{"Enabled":true}}'
update update-connectivity --connectivity-info '{"VpcConnectivity":{"ClientAuthentication":{"Sasl":{"Iam":{"Enabled":true}}}}}'
newest=$(get get-compatible-kafka-versions 'CompatibleKafkaVersions[0].TargetVersions[-1]' --cluster-arn "$cluster")
update update-cluster-kafka-version --target-kafka-version "$newest"
refused BadRequestException update-broker-storage --cluster-arn "$cluster" --current-version "$(version)" --target-broker-ebs-volume-info KafkaBrokerNodeId=All,VolumeSizeGB=100
refused BadRequestException update-storage --cluster-arn "$cluster" --current-version "$(version)" --volume-size-gb 100
updated "$(get reboot-broker ClusterOperationArn --cluster-arn "$cluster" --broker-ids 2)"

printf 'log.retention.ms=60000\n' >"$calls.properties"
configuration=$(get create-configuration Arn --name cli --server-properties "fileb://$calls.properties")
ask update-configuration --arn "$configuration" --server-properties "fileb://$calls.properties" --description two >/dev/null
want "$(get describe-configuration LatestRevision.Revision --arn "$configuration")" 2 'latest revision'
want "$(get list-configuration-revisions 'length(Revisions)' --arn "$configuration")" 2 revisions
want "$(get describe-configuration-revision Revision --arn "$configuration" --revision 1)" 1 revision
want "$(get list-configurations 'length(Configurations)')" 1 configurations
update update-cluster-configuration --configuration-info "{\"Arn\":\"$configuration\",\"Revision\":2}"
refused BadRequestException delete-configuration --arn "$configuration"

ask create-topic --cluster-arn "$cluster" --topic-name t --partition-count 2 --replication-factor 3 >/dev/null
want "$(get describe-topic PartitionCount --cluster-arn "$cluster" --topic-name t)" 2 partitions
ask update-topic --cluster-arn "$cluster" --topic-name t --partition-count 4 >/dev/null
want "$(get describe-topic-partitions 'length(Partitions)' --cluster-arn "$cluster" --topic-name t)" 4 partitions
want "$(get list-topics 'Topics[].TopicName' --cluster-arn "$cluster" --topic-name-filter t)" t topics
ask delete-topic --cluster-arn "$cluster" --topic-name t >/dev/null

secret=$("$AWS" secretsmanager create-secret --name AmazonMSK_cli --kms-key-id alias/cli --secret-string '{"username":"bob","password":"open sesame"}' --query ARN --output text)
want "$(get batch-associate-scram-secret 'length(UnprocessedScramSecrets)' --cluster-arn "$cluster" --secret-arn-list "$secret")" 0 'secrets left'
want "$(get list-scram-secrets 'SecretArnList[0]' --cluster-arn "$cluster")" "$secret" secrets
want "$(get batch-disassociate-scram-secret 'length(UnprocessedScramSecrets)' --cluster-arn "$cluster" --secret-arn-list "$secret")" 0 'secrets left'
account=$("$AWS" sts get-caller-identity --query Account --output text)
ask put-cluster-policy --cluster-arn "$cluster" --policy "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"$account\"},\"Action\":\"kafka:GetBootstrapBrokers\",\"Resource\":\"$cluster\"}]}" >/dev/null
ask get-cluster-policy --cluster-arn "$cluster" >/dev/null
connection=$(get create-vpc-connection VpcConnectionArn --target-cluster-arn "$cluster" --authentication SASL_IAM --vpc-id vpc-1 --client-subnets s --security-groups g)
want "$(get describe-vpc-connection VpcId --arn "$connection")" vpc-1 connection
want "$(get list-vpc-connections 'length(VpcConnections)')" 1 connections
want "$(get list-client-vpc-connections 'length(ClientVpcConnections)' --cluster-arn "$cluster")" 1 connections
ask reject-client-vpc-connection --cluster-arn "$cluster" --vpc-connection-arn "$connection" >/dev/null
ask delete-vpc-connection --arn "$connection" >/dev/null
ask delete-cluster-policy --cluster-arn "$cluster" >/dev/null
ask tag-resource --resource-arn "$cluster" --tags cost=1
want "$(get list-tags-for-resource Tags.cost --resource-arn "$cluster")" 1 tag
ask untag-resource --resource-arn "$cluster" --tag-keys cost

operation=$(get list-cluster-operations-v2 'ClusterOperationInfoList[0].OperationArn' --cluster-arn "$cluster")
ask describe-cluster-operation-v2 --cluster-operation-arn "$operation" >/dev/null
want "$(get list-cluster-operations 'length(ClusterOperationInfoList[?OperationState!=`UPDATE_COMPLETE`])' --cluster-arn "$cluster")" 0 'operations that are not complete'
ask list-kafka-versions >/dev/null

for arn in "$cluster" "$older"; do
    ask delete-cluster --cluster-arn "$arn" >/dev/null
done
for arn in "$cluster" "$older"; do
    for _ in {1..200}; do
        if ! said=$(ask describe-cluster-v2 --cluster-arn "$arn" 2>&1); then break; fi
    done
    if [[ $said != *'(NotFoundException)'* ]]; then
        echo "$said" >&2
        exit 1
    fi
done
ask delete-configuration --arn "$configuration" >/dev/null

# The CLI's words are those of the API, in small letters with hyphens.
sort -u "$calls" | sed -E 's/(^|-)([a-z0-9])/\U\2/g' | sed -E 's/.*/"&"/' | paste -sd, | sed 's/.*/{"operations":[&]}/'
