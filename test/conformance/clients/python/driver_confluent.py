"""confluent-kafka: librdkafka for Python."""

import confluent_kafka as ck
from confluent_kafka import admin as cadmin

import protocol as p


class Driver:
    version = ck.__version__ + " with librdkafka " + ck.libversion()[0]
    codecs = ["none", "gzip", "snappy", "lz4", "zstd"]
    features = [
        "partition", "timestamp", "headers", "null_key", "null_value", "null_header",
        "reads_null", "idempotence", "read_committed", "consumer_protocol",
    ]

    def __init__(self, bootstrap):
        self.base = {"bootstrap.servers": bootstrap}
        self.admin = cadmin.AdminClient(self.base)
        self.lookup = ck.Consumer({**self.base, "group.id": "unused"})
        self.assignments = p.Assignments()
        self.members = {}
        self.producers = {}
        self.shares = {}

    @staticmethod
    def kind(error):
        cause = error.args[0] if error.args else None
        return cause.name() if isinstance(cause, ck.KafkaError) else type(error).__name__

    @staticmethod
    def code(error):
        cause = error.args[0] if error.args else None
        if isinstance(cause, ck.KafkaError) and cause.code() > 0:
            return cause.code()
        return p.LOCAL_ERROR

    # topics

    def op_create_topic(self, r):
        topic = cadmin.NewTopic(r["topic"], r["partitions"], config=r.get("configs") or {})
        self.admin.create_topics([topic])[r["topic"]].result(r["seconds"])

    def op_delete_topic(self, r):
        self.admin.delete_topics([r["topic"]])[r["topic"]].result(r["seconds"])

    def op_list_topics(self, r):
        return {"names": sorted(self.admin.list_topics(timeout=r["seconds"]).topics)}

    def op_describe_topic(self, r):
        future = self.admin.describe_topics(ck.TopicCollection([r["topic"]]))[r["topic"]]
        partitions = future.result(r["seconds"]).partitions
        return {"partitions": len(partitions), "led": sum(1 for one in partitions if one.leader is not None)}

    def op_create_partitions(self, r):
        wanted = cadmin.NewPartitions(r["topic"], r["partitions"])
        self.admin.create_partitions([wanted])[r["topic"]].result(r["seconds"])

    def op_describe_configs(self, r):
        resource = cadmin.ConfigResource(cadmin.ResourceType.TOPIC, r["topic"])
        found = self.admin.describe_configs([resource])[resource].result(r["seconds"])
        return {"configs": {name: found[name].value for name in r["names"] if name in found}}

    def op_alter_configs(self, r):
        changes = [
            cadmin.ConfigEntry(name, value, incremental_operation=cadmin.AlterConfigOpType.SET)
            for name, value in r["configs"].items()
        ]
        resource = cadmin.ConfigResource(cadmin.ResourceType.TOPIC, r["topic"], incremental_configs=changes)
        self.admin.incremental_alter_configs([resource])[resource].result(r["seconds"])

    # records

    def op_produce(self, r):
        producer = ck.Producer(
            {
                **self.base,
                "compression.type": r.get("compression") or "none",
                "enable.idempotence": bool(r.get("idempotent")),
                "acks": "all",
                "linger.ms": 5,
            }
        )
        return self.send(producer, r)

    @staticmethod
    def send(producer, r):
        """Writes the records of a request and waits for their offsets."""
        offsets = [None] * len(r["records"])
        errors = []

        def done(index):
            def callback(error, message):
                if error is not None:
                    errors.append(error)
                else:
                    offsets[index] = message.offset()

            return callback

        for index, record in enumerate(r["records"]):
            producer.produce(
                r["topic"],
                value=p.decode(record["value"]),
                key=p.decode(record["key"]),
                partition=r["partition"],
                timestamp=record["timestamp"],
                headers=p.headers_of(record),
                on_delivery=done(index),
            )
        left = producer.flush(r["seconds"])
        if errors:
            raise ck.KafkaException(errors[0])
        if left:
            raise TimeoutError(f"{left} records without an answer")
        return {"offsets": offsets}

    def op_produce_lines(self, r):
        producer = ck.Producer(
            {**self.base, "enable.idempotence": True, "linger.ms": 20, "compression.type": r.get("compression") or "none"}
        )
        errors = []

        def done(error, _):
            if error is not None:
                errors.append(error)

        count = 0
        with open(r["file"], "rb") as lines:
            for line in lines:
                key, value = line.rstrip(b"\n").split(b"\t", 1)
                while True:
                    try:
                        producer.produce(r["topic"], value=value, key=key, on_delivery=done)
                        break
                    except BufferError:
                        producer.poll(1)
                count += 1
                if count % 1000 == 0:
                    producer.poll(0)
        left = producer.flush(r["seconds"])
        if errors:
            raise ck.KafkaException(errors[0])
        if left:
            raise TimeoutError(f"{left} records without an answer")
        return {"count": count}

    def op_consume(self, r):
        isolation = r.get("isolation") or "read_committed"
        consumer = ck.Consumer({**self.base, "group.id": "unused", "fetch.wait.max.ms": 100, "isolation.level": isolation})
        try:
            wanted = []
            for topic, found in consumer.list_topics(timeout=r["seconds"]).topics.items():
                if topic in r["topics"]:
                    wanted += [ck.TopicPartition(topic, number, ck.OFFSET_BEGINNING) for number in found.partitions]
            consumer.assign(wanted)
            return {"records": [answer(m) for m in self.read(consumer, r)]}
        finally:
            consumer.close()

    @staticmethod
    def read(consumer, r):
        end, left = p.deadline(r), r["count"]
        while left:
            for message in consumer.consume(min(left, 5000), 0.2):
                if message.error():
                    raise ck.KafkaException(message.error())
                left -= 1
                yield message
            p.check_deadline(end)

    def op_list_offsets(self, r):
        low, high = self.lookup.get_watermark_offsets(ck.TopicPartition(r["topic"], r["partition"]), timeout=r["seconds"])
        return {"earliest": low, "latest": high}

    def op_offset_for_time(self, r):
        asked = [ck.TopicPartition(r["topic"], r["partition"], r["timestamp"])]
        found = self.lookup.offsets_for_times(asked, timeout=r["seconds"])[0]
        if found.error:
            raise ck.KafkaException(found.error)
        return {"offset": -1 if found.offset == ck.OFFSET_END else found.offset}

    def op_delete_records(self, r):
        asked = ck.TopicPartition(r["topic"], r["partition"], r["before"])
        done = self.admin.delete_records([asked])[asked].result(r["seconds"])
        return {"offset": done.low_watermark}

    # groups

    def group(self, r, **more):
        config = {
            **self.base,
            "group.id": r["group"],
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 100,
            "heartbeat.interval.ms": 300,
            "session.timeout.ms": 10000,
            **more,
        }
        if r.get("protocol") == "consumer":  # these are the coordinator's to say
            del config["heartbeat.interval.ms"], config["session.timeout.ms"]
            config["group.protocol"] = "consumer"
        return ck.Consumer(config)

    def op_group_read(self, r):
        consumer = self.group(r)
        try:
            consumer.subscribe(p.topics_of(r))
            out, position = [], {}
            for message in self.read(consumer, r):
                out.append(answer(message))
                position[(message.topic(), message.partition())] = message.offset() + 1
            self.commit(consumer, position)
            return {"records": out}
        finally:
            consumer.close()

    def op_digest_group(self, r):
        consumer = self.group(r)
        try:
            consumer.subscribe(p.topics_of(r))
            digests, position = p.Digests(), {}
            for message in self.read(consumer, r):
                digests.add(message.topic(), message.key(), message.value())
                position[(message.topic(), message.partition())] = message.offset() + 1
            self.commit(consumer, position)
            return digests.finish()
        finally:
            consumer.close()

    @staticmethod
    def commit(consumer, position):
        offsets = [ck.TopicPartition(topic, number, offset) for (topic, number), offset in position.items()]
        for done in consumer.commit(offsets=offsets, asynchronous=False):
            if done.error:
                raise ck.KafkaException(done.error)

    def op_committed(self, r):
        asked = ck.ConsumerGroupTopicPartitions(r["group"])
        found = self.admin.list_consumer_group_offsets([asked])[r["group"]].result(r["seconds"])
        return {"offsets": {one.partition: one.offset for one in found.topic_partitions if one.topic == r["topic"]}}

    def op_list_groups(self, r):
        found = self.admin.list_consumer_groups(request_timeout=r["seconds"]).result()
        if found.errors:
            raise ck.KafkaException(found.errors[0])
        return {"names": sorted(one.group_id for one in found.valid)}

    def op_describe_group(self, r):
        found = self.admin.describe_consumer_groups([r["group"]])[r["group"]].result(r["seconds"])
        return {"state": found.state.name.title().replace("_", ""), "members": len(found.members)}

    def op_delete_group(self, r):
        self.admin.delete_consumer_groups([r["group"]])[r["group"]].result(r["seconds"])

    # transactions

    def transactional(self, r):
        producer = ck.Producer(
            {
                **self.base,
                "transactional.id": r["id"],
                "transaction.timeout.ms": r["timeout_ms"],
                "compression.type": r.get("compression") or "none",
                "linger.ms": 5,
            }
        )
        producer.init_transactions(r["seconds"])
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
            producer.commit_transaction(r["seconds"])
        else:
            producer.abort_transaction(r["seconds"])

    def op_txn_close(self, r):
        del self.producers[r["producer"]]

    def op_txn_transform(self, r):
        producer = self.transactional(r)
        consumer = self.group(r, **{"isolation.level": "read_committed"})
        try:
            consumer.subscribe([r["topic"]])
            producer.begin_transaction()
            for message in self.read(consumer, r):
                producer.produce(r["topics"][0], value=p.transformed(message.value()), key=message.key(), partition=0)
                position = ck.TopicPartition(message.topic(), message.partition(), message.offset() + 1)
            producer.flush(r["seconds"])  # an abort drops what was not sent yet
            producer.send_offsets_to_transaction([position], consumer.consumer_group_metadata(), r["seconds"])
            self.end(producer, r)
            return {"count": r["count"]}
        finally:
            consumer.close()

    def op_member_open(self, r):
        name, consumer = r["member"], self.group(r)
        consumer.subscribe(
            [r["topic"]],
            on_assign=lambda _, given: self.assignments.add(name, [one.partition for one in given]),
            on_revoke=lambda _, taken: self.assignments.remove(name, [one.partition for one in taken]),
            on_lost=lambda _, taken: self.assignments.remove(name, [one.partition for one in taken]),
        )
        self.members[name] = p.Member(name, self.assignments, lambda: consumer.poll(0.05), consumer.close)

    def op_member_state(self, _):
        return self.assignments.answer()

    def op_member_close(self, r):
        self.members.pop(r["member"]).close(r["seconds"])

    # share groups

    def op_share_open(self, r):
        member = ck.ShareConsumer({**self.base, "group.id": r["group"], "share.acknowledgement.mode": "explicit"})
        member.subscribe([r["topic"]])
        self.shares[r["member"]] = member

    def op_share_read(self, r):
        member, out, end = self.shares[r["member"]], [], p.deadline(r)
        while len(out) < r["count"]:
            got = list(member.poll(0.2))
            for message in got:
                if message.error():
                    raise ck.KafkaException(message.error())
                out.append({"offset": message.offset(), "count": message.delivery_count()})
                if not r["hold"]:
                    member.acknowledge(message, self.verdict(r, out[-1]))
            if got and not r["hold"]:
                for failed in filter(None, member.commit_sync(float(r["seconds"])).values()):
                    raise failed
            p.check_deadline(end)
        return {"deliveries": out}

    @staticmethod
    def verdict(r, delivery):
        if delivery["offset"] in r.get("release", []) and delivery["count"] == 1:
            return ck.AcknowledgeType.RELEASE
        if delivery["offset"] in r.get("reject", []):
            return ck.AcknowledgeType.REJECT
        return ck.AcknowledgeType.ACCEPT

    def op_share_close(self, r):
        self.shares.pop(r["member"]).close()


def answer(message):
    return p.record_answer(
        message.topic(),
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        message.value(),
        message.headers(),
    )
