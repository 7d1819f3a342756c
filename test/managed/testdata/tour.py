"""Goes through every operation of the MSK API with boto3, against a running `millrace serve`, and produces to and consumes from what it makes.

The environment has the endpoint, the region and the keys, as `millrace env` gives them. It prints one line of JSON:
  {"operations": [...], "create_to_ack_seconds": ...}
Whatever is not as it should be ends it with a traceback. Every answer is held to the service model.
"""
import base64
import json
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from confluent_kafka import Consumer, Producer

import shapes

kafka = boto3.client("kafka", config=Config(retries={"max_attempts": 2}))
secrets = boto3.client("secretsmanager")
sts = boto3.client("sts")
called = set()
faults = []


def after(http_response, parsed, model, **_):
    called.add(model.name)
    if http_response.status_code < 300 and model.output_shape is not None:
        faults.extend(shapes.faults(model.name, model.output_shape, json.loads(http_response.content or b"{}")))


kafka.meta.events.register("after-call.kafka", after)

NODES = {
    "ClientSubnets": ["subnet-a", "subnet-b", "subnet-c"],
    "InstanceType": "express.m7g.large",
    "SecurityGroups": ["sg-1"],
}


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, f"{call.__name__}: {e}, want {code}"
        assert e.response["ResponseMetadata"]["RequestId"]
        return e.response["Error"]["Message"]
    raise AssertionError(f"{call.__name__} was answered, want {code}")


def active(arn):
    deadline = time.time() + 120
    while time.time() < deadline:
        info = kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]
        if info["State"] == "ACTIVE":
            return info
        assert info["State"] != "FAILED", info
        time.sleep(0.02)
    raise AssertionError(f"{arn} is {info['State']}")


def done(answer):
    """Waits for an operation as Terraform does, and returns what the cluster is then."""
    arn = answer["ClusterOperationArn"]
    deadline = time.time() + 120
    while time.time() < deadline:
        info = kafka.describe_cluster_operation(ClusterOperationArn=arn)["ClusterOperationInfo"]
        if info["OperationState"] == "UPDATE_COMPLETE":
            assert info["ClusterArn"] == answer["ClusterArn"] and info["EndTime"] >= info["CreationTime"]
            return kafka.describe_cluster(ClusterArn=answer["ClusterArn"])["ClusterInfo"]
        assert info["OperationState"] in ("PENDING", "UPDATE_IN_PROGRESS", "REBOOT_IN_PROGRESS"), info
        time.sleep(0.02)
    raise AssertionError(f"operation is {info['OperationState']}: {info}")


def gone(arn):
    deadline = time.time() + 120
    while time.time() < deadline:
        try:
            assert kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]["State"] == "DELETING"
        except kafka.exceptions.NotFoundException:
            return
        time.sleep(0.02)
    raise AssertionError(f"{arn} is still there")


def stream(bootstrap, topic, n, first=0):
    """Produces n records, then consumes all that were ever produced."""
    failed = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 0})
    for i in range(first, first + n):
        producer.produce(topic, key=str(i), value=f"value {i}", on_delivery=lambda err, _: err and failed.append(err))
    assert producer.flush(60) == 0 and not failed, failed
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"tour-{first}", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    seen = set()
    deadline = time.time() + 60
    while len(seen) < first + n and time.time() < deadline:
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            seen.add(message.key())
    consumer.close()
    assert len(seen) == first + n, f"{len(seen)} of {first + n} records came back"


def clusters():
    begin = time.time()
    made = kafka.create_cluster_v2(
        ClusterName="tour",
        Tags={"team": "a"},
        Provisioned={"BrokerNodeGroupInfo": NODES, "KafkaVersion": "3.8.x", "NumberOfBrokerNodes": 3},
    )
    arn = made["ClusterArn"]
    assert made["State"] == "CREATING" and made["ClusterType"] == "PROVISIONED"
    active(arn)
    bootstrap = kafka.get_bootstrap_brokers(ClusterArn=arn)["BootstrapBrokerString"]
    assert len(bootstrap.split(",")) == 3
    acked = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 0, "topic.metadata.refresh.interval.ms": 100})
    kafka.create_topic(ClusterArn=arn, TopicName="first", PartitionCount=3, ReplicationFactor=3)
    producer.produce("first", value="x", on_delivery=lambda err, _: acked.append(err))
    assert producer.flush(60) == 0 and acked == [None], acked
    took = time.time() - begin

    refused("ConflictException", kafka.create_cluster_v2, ClusterName="tour",
            Provisioned={"BrokerNodeGroupInfo": NODES, "KafkaVersion": "3.9.x", "NumberOfBrokerNodes": 3})
    one = kafka.create_cluster(ClusterName="older", BrokerNodeGroupInfo=NODES, KafkaVersion="3.9.x", NumberOfBrokerNodes=3)
    serverless = kafka.create_cluster_v2(
        ClusterName="less", Serverless={"VpcConfigs": [{"SubnetIds": ["subnet-a", "subnet-b"]}], "ClientAuthentication": {"Sasl": {"Iam": {"Enabled": True}}}})
    active(one["ClusterArn"])
    assert active(serverless["ClusterArn"])["Serverless"]["ClientAuthentication"]["Sasl"]["Iam"]["Enabled"]
    assert ":9" not in kafka.get_bootstrap_brokers(ClusterArn=serverless["ClusterArn"]).get("BootstrapBrokerString", "")
    assert kafka.get_bootstrap_brokers(ClusterArn=serverless["ClusterArn"])["BootstrapBrokerStringSaslIam"]
    names = {c["ClusterName"] for page in kafka.get_paginator("list_clusters_v2").paginate(PaginationConfig={"PageSize": 1}) for c in page["ClusterInfoList"]}
    assert names >= {"tour", "older", "less"}, names
    assert [c["ClusterName"] for c in kafka.list_clusters(ClusterNameFilter="old")["ClusterInfoList"]] == ["older"]
    assert [c["ClusterName"] for c in kafka.list_clusters_v2(ClusterTypeFilter="SERVERLESS")["ClusterInfoList"]] == ["less"]
    return arn, one["ClusterArn"], serverless["ClusterArn"], took


def updates(arn):
    def version():
        return kafka.describe_cluster(ClusterArn=arn)["ClusterInfo"]["CurrentVersion"]

    bootstrap = kafka.get_bootstrap_brokers(ClusterArn=arn)["BootstrapBrokerString"]
    stream(bootstrap, "first", 100, first=0)
    refused("BadRequestException", kafka.update_broker_count, ClusterArn=arn, CurrentVersion="K000", TargetNumberOfBrokerNodes=6)
    before = version()
    info = done(kafka.update_broker_count(ClusterArn=arn, CurrentVersion=before, TargetNumberOfBrokerNodes=6))
    assert info["NumberOfBrokerNodes"] == 6 and info["CurrentVersion"] != before
    nodes = [n["BrokerNodeInfo"]["BrokerId"] for page in kafka.get_paginator("list_nodes").paginate(ClusterArn=arn) for n in page["NodeInfoList"]]
    assert sorted(nodes) == [1, 2, 3, 4, 5, 6], nodes
    info = done(kafka.update_broker_count(ClusterArn=arn, CurrentVersion=version(), TargetNumberOfBrokerNodes=3))
    assert info["NumberOfBrokerNodes"] == 3
    info = done(kafka.update_broker_type(ClusterArn=arn, CurrentVersion=version(), TargetInstanceType="express.m7g.xlarge"))
    assert info["BrokerNodeGroupInfo"]["InstanceType"] == "express.m7g.xlarge"
    info = done(kafka.update_monitoring(ClusterArn=arn, CurrentVersion=version(), EnhancedMonitoring="PER_BROKER"))
    assert info["EnhancedMonitoring"] == "PER_BROKER"
    info = done(kafka.update_rebalancing(ClusterArn=arn, CurrentVersion=version(), Rebalancing={"Status": "PAUSED"}))
    assert info["Rebalancing"]["Status"] == "PAUSED"
    done(kafka.update_cluster_kafka_version(ClusterArn=arn, CurrentVersion=version(), TargetKafkaVersion=kafka.get_compatible_kafka_versions(
        ClusterArn=arn)["CompatibleKafkaVersions"][0]["TargetVersions"][-1]))
    info = done(kafka.update_security(ClusterArn=arn, CurrentVersion=version(), ClientAuthentication={
        "Sasl": {"Scram": {"Enabled": True}, "Iam": {"Enabled": True}}, "Unauthenticated": {"Enabled": True}}))
    assert info["ClientAuthentication"]["Sasl"]["Scram"]["Enabled"]
    brokers = kafka.get_bootstrap_brokers(ClusterArn=arn)
    assert brokers["BootstrapBrokerStringSaslScram"] and brokers["BootstrapBrokerStringSaslIam"] and brokers["BootstrapBrokerString"] == bootstrap
    done(kafka.update_connectivity(ClusterArn=arn, CurrentVersion=version(), ConnectivityInfo={
        "VpcConnectivity": {"ClientAuthentication": {"Sasl": {"Iam": {"Enabled": True}}}}}))
    refused("BadRequestException", kafka.update_broker_storage, ClusterArn=arn, CurrentVersion=version(),
            TargetBrokerEBSVolumeInfo=[{"KafkaBrokerNodeId": "All", "VolumeSizeGB": 100}])
    refused("BadRequestException", kafka.update_storage, ClusterArn=arn, CurrentVersion=version(), VolumeSizeGB=100)
    done(kafka.reboot_broker(ClusterArn=arn, BrokerIds=["1"]))
    stream(bootstrap, "first", 100, first=100)
    operations = [o for page in kafka.get_paginator("list_cluster_operations").paginate(ClusterArn=arn) for o in page["ClusterOperationInfoList"]]
    assert len(operations) >= 9 and all(o["OperationState"] == "UPDATE_COMPLETE" for o in operations), operations
    newer = kafka.list_cluster_operations_v2(ClusterArn=arn)["ClusterOperationInfoList"]
    assert kafka.describe_cluster_operation_v2(ClusterOperationArn=newer[0]["OperationArn"])["ClusterOperationInfo"]["OperationType"]


def configurations(arn):
    made = kafka.create_configuration(Name="tour", ServerProperties=b"auto.create.topics.enable=true\nlog.retention.ms=3600000\n", KafkaVersions=["3.9.x"])
    refused("ConflictException", kafka.create_configuration, Name="tour", ServerProperties=b"")
    message = refused("BadRequestException", kafka.create_configuration, Name="bad", ServerProperties=b"no.such.property=1\nlog.retention.ms=x\n")
    assert "no.such.property" in message and "log.retention.ms" in message, message
    kafka.update_configuration(Arn=made["Arn"], ServerProperties=b"auto.create.topics.enable=true\nlog.retention.ms=7200000\n", Description="two")
    assert kafka.describe_configuration(Arn=made["Arn"])["LatestRevision"]["Revision"] == 2
    assert b"7200000" in kafka.describe_configuration_revision(Arn=made["Arn"], Revision=2)["ServerProperties"]
    assert len(kafka.list_configuration_revisions(Arn=made["Arn"])["Revisions"]) == 2
    assert [c["Name"] for c in kafka.list_configurations()["Configurations"]] == ["tour"]
    version = kafka.describe_cluster(ClusterArn=arn)["ClusterInfo"]["CurrentVersion"]
    info = done(kafka.update_cluster_configuration(ClusterArn=arn, CurrentVersion=version, ConfigurationInfo={"Arn": made["Arn"], "Revision": 2}))
    assert info["CurrentBrokerSoftwareInfo"]["ConfigurationRevision"] == 2
    bootstrap = kafka.get_bootstrap_brokers(ClusterArn=arn)["BootstrapBrokerString"]
    stream(bootstrap, "made-by-a-producer", 10)
    assert "in use" in refused("BadRequestException", kafka.delete_configuration, Arn=made["Arn"])
    return made["Arn"]


def topics(arn):
    configs = base64.b64encode(json.dumps({"cleanup.policy": "compact"}).encode()).decode()
    kafka.create_topic(ClusterArn=arn, TopicName="t", PartitionCount=2, ReplicationFactor=3, Configs=configs)
    refused("TopicExistsException", kafka.create_topic, ClusterArn=arn, TopicName="t", PartitionCount=2, ReplicationFactor=3)
    assert kafka.describe_topic(ClusterArn=arn, TopicName="t")["PartitionCount"] == 2
    kafka.update_topic(ClusterArn=arn, TopicName="t", PartitionCount=4)
    assert len(kafka.describe_topic_partitions(ClusterArn=arn, TopicName="t")["Partitions"]) == 4
    assert [t["TopicName"] for t in kafka.list_topics(ClusterArn=arn, TopicNameFilter="t")["Topics"]][:1] == ["t"]
    kafka.delete_topic(ClusterArn=arn, TopicName="t")
    refused("UnknownTopicOrPartitionException", kafka.delete_topic, ClusterArn=arn, TopicName="t")


def access(arn):
    secret = secrets.create_secret(Name="AmazonMSK_alice", KmsKeyId="alias/tour", SecretString=json.dumps({"username": "alice", "password": "open sesame"}))["ARN"]
    left = kafka.batch_associate_scram_secret(ClusterArn=arn, SecretArnList=[secret])["UnprocessedScramSecrets"]
    assert not left, left
    assert kafka.list_scram_secrets(ClusterArn=arn)["SecretArnList"] == [secret]
    assert kafka.batch_associate_scram_secret(ClusterArn=arn, SecretArnList=[secret + "x"])["UnprocessedScramSecrets"]
    assert not kafka.batch_disassociate_scram_secret(ClusterArn=arn, SecretArnList=[secret])["UnprocessedScramSecrets"]
    account = sts.get_caller_identity()["Account"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": account}, "Action": ["kafka:CreateVpcConnection", "kafka:GetBootstrapBrokers"], "Resource": arn}]})
    kafka.put_cluster_policy(ClusterArn=arn, Policy=policy)
    assert json.loads(kafka.get_cluster_policy(ClusterArn=arn)["Policy"]) == json.loads(policy)
    connection = kafka.create_vpc_connection(TargetClusterArn=arn, Authentication="SASL_IAM", VpcId="vpc-1", ClientSubnets=["s"], SecurityGroups=["g"])["VpcConnectionArn"]
    assert kafka.describe_vpc_connection(Arn=connection)["VpcId"] == "vpc-1"
    assert len(kafka.list_vpc_connections()["VpcConnections"]) == 1
    assert len(kafka.list_client_vpc_connections(ClusterArn=arn)["ClientVpcConnections"]) == 1
    kafka.reject_client_vpc_connection(ClusterArn=arn, VpcConnectionArn=connection)
    kafka.delete_vpc_connection(Arn=connection)
    kafka.delete_cluster_policy(ClusterArn=arn)
    refused("NotFoundException", kafka.get_cluster_policy, ClusterArn=arn)
    kafka.tag_resource(ResourceArn=arn, Tags={"cost": "1"})
    assert kafka.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"team": "a", "cost": "1"}
    kafka.untag_resource(ResourceArn=arn, TagKeys=["cost", "team"])
    assert kafka.list_tags_for_resource(ResourceArn=arn)["Tags"] == {}


def not_supported(arn):
    calls = [
        (kafka.list_replicators, {}),
        (kafka.describe_replicator, {"ReplicatorArn": arn.replace(":cluster/", ":replicator/")}),
        (kafka.list_channels, {"ClusterArn": arn}),
    ]
    for call, arguments in calls:
        try:
            call(**arguments)
        except ClientError as e:
            assert "not supported yet" in e.response["Error"]["Message"], e


def main():
    arn, older, serverless, took = clusters()
    updates(arn)
    configuration = configurations(arn)
    topics(arn)
    access(arn)
    not_supported(arn)
    assert kafka.list_kafka_versions()["KafkaVersions"]
    for cluster in (arn, older, serverless):
        kafka.delete_cluster(ClusterArn=cluster)
    for cluster in (arn, older, serverless):
        gone(cluster)
    kafka.delete_configuration(Arn=configuration)
    refused("BadRequestException", kafka.describe_configuration, Arn=configuration)
    assert not faults, "\n".join(faults)
    print(json.dumps({"operations": sorted(called), "create_to_ack_seconds": round(took, 3)}))


main()
