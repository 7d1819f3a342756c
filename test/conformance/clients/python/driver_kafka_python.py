"""kafka-python."""

import re
import time

import kafka
from kafka import errors
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.structs import OffsetAndMetadata, TopicPartition

import protocol as p


class Driver:
    version = kafka.__version__
    codecs = ["none", "gzip", "snappy", "lz4", "zstd"]
    features = [
        "partition", "timestamp", "headers", "null_key", "null_value", "reads_null",
        "idempotence", "slow_reads", "read_committed",
    ]

    def __init__(self, bootstrap):
        self.base = {"bootstrap_servers": bootstrap}
        self.admin = kafka.KafkaAdminClient(**self.base)
        self.lookup = kafka.KafkaConsumer(**self.base)
        self.assignments = p.Assignments()
        self.members = {}
        self.producers = {}

    @staticmethod
    def code(error):
        if isinstance(error, errors.BrokerResponseError) and error.errno > 0:
            return error.errno
        return p.LOCAL_ERROR

    # topics

    def op_create_topic(self, r):
        options = {"num_partitions": r["partitions"], "configs": r.get("configs") or {}}
        self.admin.create_topics({r["topic"]: options})

    def op_delete_topic(self, r):
        self.admin.delete_topics([r["topic"]])

    def op_list_topics(self, _):
        return {"names": sorted(self.admin.list_topics())}

    def op_describe_topic(self, r):
        topic = self.admin.describe_topics([r["topic"]])[0]
        if topic["error_code"]:
            raise errors.for_code(topic["error_code"])()
        led = sum(1 for one in topic["partitions"] if one["leader_id"] >= 0)
        return {"partitions": len(topic["partitions"]), "led": led}

    def op_create_partitions(self, r):
        self.admin.create_partitions({r["topic"]: r["partitions"]})

    def op_describe_configs(self, r):
        asked = ConfigResource(ConfigResourceType.TOPIC, r["topic"], {name: None for name in r["names"]})
        found = self.admin.describe_configs([asked], config_filter="all")
        return {"configs": {name: one["value"] for name, one in found["topic"][r["topic"]].items()}}

    def op_alter_configs(self, r):
        asked = ConfigResource(ConfigResourceType.TOPIC, r["topic"], r["configs"])
        done = self.admin.alter_configs([asked], raise_on_unknown=False)["topic"][r["topic"]]
        told = re.match(r"\[Error (\d+)\]", done)  # the outcome is a text: OK, or the error
        if told:
            raise errors.for_code(int(told[1]))(done)

    # records

    def op_produce(self, r):
        codec = r.get("compression") or "none"
        producer = kafka.KafkaProducer(
            **self.base,
            acks="all",
            linger_ms=5,
            compression_type=None if codec == "none" else codec,
            enable_idempotence=bool(r.get("idempotent")),
        )
        try:
            return self.send(producer, r)
        finally:
            producer.close(1)

    @staticmethod
    def send(producer, r):
        """Writes the records of a request and waits for their offsets."""
        sent = [
            producer.send(
                r["topic"],
                value=p.decode(record["value"]),
                key=p.decode(record["key"]),
                headers=p.headers_of(record),
                partition=r["partition"],
                timestamp_ms=record["timestamp"] or None,
            )
            for record in r["records"]
        ]
        producer.flush(r["seconds"])
        return {"offsets": [one.get(r["seconds"]).offset for one in sent]}

    def op_consume(self, r):
        isolation = r.get("isolation") or "read_uncommitted"
        consumer = kafka.KafkaConsumer(
            **self.base, fetch_max_wait_ms=100, auto_offset_reset="earliest", isolation_level=isolation
        )
        try:
            wanted = [
                TopicPartition(topic, number) for topic in r["topics"] for number in consumer.partitions_for_topic(topic)
            ]
            consumer.assign(wanted)
            consumer.seek_to_beginning(*wanted)
            return {"records": [answer(m) for m in self.read(consumer, r)]}
        finally:
            consumer.close()

    @staticmethod
    def read(consumer, r):
        end, left = p.deadline(r), r["count"]
        while left:
            for messages in consumer.poll(timeout_ms=200, max_records=min(left, 5000)).values():
                left -= len(messages)
                yield from messages
            p.check_deadline(end)

    def op_list_offsets(self, r):
        asked = TopicPartition(r["topic"], r["partition"])
        low = self.lookup.beginning_offsets([asked])[asked]
        return {"earliest": low, "latest": self.lookup.end_offsets([asked])[asked]}

    def op_offset_for_time(self, r):
        asked = TopicPartition(r["topic"], r["partition"])
        found = self.lookup.offsets_for_times({asked: r["timestamp"]})[asked]
        return {"offset": -1 if found is None else found.offset}

    def op_delete_records(self, r):
        asked = TopicPartition(r["topic"], r["partition"])
        done = self.admin.delete_records({asked: r["before"]})[asked]
        if done["error_code"]:
            raise errors.for_code(done["error_code"])()
        return {"offset": done["low_watermark"]}

    # groups

    def group(self, r, listener=None, **more):
        """A member that has subscribed to its topics; it joins with its first poll.

        A leader that learns its topics' partitions only after it has joined joins anew. Where a poll ends after the answer to
        that JoinGroup and before the one to its SyncGroup, kafka-python 3.0.12 forgets the join: need_rejoin compares the
        partitions assigned with the partitions known, which are equal again by then, and unlike the Java client (KAFKA-9815)
        nothing else says that a join is under way. The member sends no heartbeat any more, is out when its session ends, and
        never comes back, with Apache Kafka too. A leader that knows the partitions when it joins has no reason to join anew.
        So they are asked for here, after subscribing: what the consumer learns before that, it does not compare with.
        """
        consumer = kafka.KafkaConsumer(
            **self.base,
            group_id=r["group"],
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=100,
            heartbeat_interval_ms=300,
            session_timeout_ms=10000,
            **more,
        )
        consumer.subscribe(p.topics_of(r), listener=listener)
        consumer.topics()  # asks the cluster each time
        return consumer

    @staticmethod
    def commit(consumer, position, r):
        """Commit; where a rebalance has begun meanwhile, finish it and commit again, as the client's error asks for."""
        deadline = time.monotonic() + r["seconds"]
        while True:
            try:
                return consumer.commit(position)
            except errors.RebalanceInProgressError:
                if time.monotonic() > deadline:
                    raise
                consumer.poll(timeout_ms=100)

    def op_group_read(self, r):
        consumer = self.group(r)
        try:
            out, position = [], {}
            for message in self.read(consumer, r):
                out.append(answer(message))
                position[TopicPartition(message.topic, message.partition)] = OffsetAndMetadata(message.offset + 1, "", -1)
            self.commit(consumer, position, r)
            return {"records": out}
        finally:
            consumer.close(autocommit=False)

    def op_digest_group(self, r):
        consumer = self.group(r)
        try:
            digests, position = p.Digests(), {}
            for message in self.read(consumer, r):
                digests.add(message.topic, message.key, message.value)
                position[(message.topic, message.partition)] = message.offset + 1
            self.commit(
                consumer,
                {TopicPartition(*where): OffsetAndMetadata(offset, "", -1) for where, offset in position.items()},
                r,
            )
            return digests.finish()
        finally:
            consumer.close(autocommit=False)

    def op_committed(self, r):
        found = self.admin.list_group_offsets({r["group"]: None})[r["group"]]
        return {"offsets": {where.partition: one.offset for where, one in found.items() if where.topic == r["topic"]}}

    def op_list_groups(self, _):
        return {"names": sorted(group["group_id"] for group in self.admin.list_groups())}

    def op_describe_group(self, r):
        found = self.admin.describe_groups([r["group"]])[r["group"]]
        return {"state": found["group_state"], "members": len(found["members"])}

    def op_delete_group(self, r):
        done = self.admin.delete_groups([r["group"]])[r["group"]]
        if done != "OK":
            raise getattr(errors, done)()

    # transactions

    def transactional(self, r):
        codec = r.get("compression") or "none"
        producer = kafka.KafkaProducer(
            **self.base,
            transactional_id=r["id"],
            transaction_timeout_ms=r["timeout_ms"],
            compression_type=None if codec == "none" else codec,
            linger_ms=5,
        )
        producer.init_transactions()
        return producer

    def op_txn_open(self, r):
        self.producers[r["producer"]] = self.transactional(r)

    def op_txn_begin(self, r):
        self.producers[r["producer"]].begin_transaction()

    def op_txn_send(self, r):
        return self.send(self.producers[r["producer"]], r)

    def op_txn_end(self, r):
        self.end(self.producers[r["producer"]], r)

    @staticmethod
    def end(producer, r):
        if r["commit"]:
            producer.commit_transaction()
        else:
            producer.abort_transaction()

    def op_txn_close(self, r):
        self.producers.pop(r["producer"]).close(1)

    def op_txn_transform(self, r):
        producer = self.transactional(r)
        consumer = self.group(r, isolation_level="read_committed")
        try:
            producer.begin_transaction()
            for message in self.read(consumer, r):
                producer.send(r["topics"][0], value=p.transformed(message.value), key=message.key, partition=0)
                position = {TopicPartition(message.topic, message.partition): OffsetAndMetadata(message.offset + 1, "", -1)}
            producer.flush(r["seconds"])  # an abort drops what was not sent yet
            producer.send_offsets_to_transaction(position, consumer.group_metadata())
            self.end(producer, r)
            return {"count": r["count"]}
        finally:
            consumer.close(autocommit=False)
            producer.close(1)

    def op_member_open(self, r):
        name, assignments = r["member"], self.assignments

        class Listener(kafka.ConsumerRebalanceListener):
            def on_partitions_assigned(self, assigned):
                assignments.put(name, [one.partition for one in assigned])

            def on_partitions_revoked(self, revoked):
                assignments.remove(name, [one.partition for one in revoked])

        consumer = self.group(r, Listener())
        self.members[name] = p.Member(
            name, assignments, lambda: consumer.poll(timeout_ms=50), lambda: consumer.close(autocommit=False)
        )

    def op_member_state(self, _):
        return self.assignments.answer()

    def op_member_close(self, r):
        self.members.pop(r["member"]).close(r["seconds"])


def answer(message):
    return p.record_answer(
        message.topic,
        message.partition,
        message.offset,
        message.timestamp,
        message.key,
        message.value,
        message.headers,
    )
