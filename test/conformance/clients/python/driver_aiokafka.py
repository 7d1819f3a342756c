"""aiokafka, with its event loop in a thread of its own, so that open members live on between requests."""

import asyncio
import inspect
import threading

import aiokafka
from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import TopicPartition

import protocol as p


class Driver:
    """Runs each operation of Operations on the loop and waits for it."""

    version = aiokafka.__version__
    codecs = ["none", "gzip", "snappy", "lz4", "zstd"]
    features = [
        "partition", "timestamp", "headers", "null_key", "null_value", "null_header",
        "reads_null", "idempotence", "read_committed",
    ]

    def __init__(self, bootstrap):
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()

        def wait(coroutine, seconds):
            return asyncio.run_coroutine_threadsafe(coroutine, loop).result(seconds)

        operations = Operations(bootstrap)
        wait(operations.start(), 30)
        for name, method in inspect.getmembers(operations, inspect.iscoroutinefunction):
            if name.startswith("op_"):
                setattr(self, name, lambda r, method=method: wait(method(r), r["seconds"] + 5))

    def __dir__(self):
        return list(self.__dict__)

    @staticmethod
    def code(error):
        if isinstance(error, errors.BrokerResponseError) and error.errno > 0:
            return error.errno
        return p.LOCAL_ERROR


def check(code):
    if code:
        raise errors.for_code(code)()


class Operations:
    def __init__(self, bootstrap):
        self.base = {"bootstrap_servers": bootstrap}
        self.assignments = p.Assignments()
        self.members = {}
        self.producers = {}

    async def start(self):
        self.admin = AIOKafkaAdminClient(**self.base)
        await self.admin.start()
        self.lookup = aiokafka.AIOKafkaConsumer(**self.base)
        await self.lookup.start()

    # topics

    async def op_create_topic(self, r):
        topic = NewTopic(r["topic"], r["partitions"], 1, topic_configs=r.get("configs") or {})
        response = await self.admin.create_topics([topic])
        check(response.topic_errors[0][1])

    async def op_delete_topic(self, r):
        response = await self.admin.delete_topics([r["topic"]])
        check(response.topic_error_codes[0][1])

    async def op_list_topics(self, _):
        return {"names": sorted(await self.admin.list_topics())}

    async def op_describe_topic(self, r):
        topic = (await self.admin.describe_topics([r["topic"]]))[0]
        check(topic["error_code"])
        led = sum(1 for one in topic["partitions"] if one["leader"] >= 0)
        return {"partitions": len(topic["partitions"]), "led": led}

    async def op_create_partitions(self, r):
        await self.admin.create_partitions({r["topic"]: NewPartitions(r["partitions"])})

    async def op_describe_configs(self, r):
        asked = ConfigResource(ConfigResourceType.TOPIC, r["topic"], {name: None for name in r["names"]})
        resource = (await self.admin.describe_configs([asked]))[0].resources[0]
        check(resource[0])
        return {"configs": {entry[0]: entry[1] for entry in resource[4]}}

    async def op_alter_configs(self, r):
        asked = ConfigResource(ConfigResourceType.TOPIC, r["topic"], r["configs"])
        response = (await self.admin.alter_configs([asked]))[0]
        check(response.resources[0][0])

    # records

    async def op_produce(self, r):
        codec = r.get("compression") or "none"
        producer = aiokafka.AIOKafkaProducer(
            **self.base,
            acks="all",
            compression_type=None if codec == "none" else codec,
            enable_idempotence=bool(r.get("idempotent")),
            linger_ms=5,
        )
        await producer.start()
        try:
            return await self.send(producer, r)
        finally:
            await producer.stop()

    @staticmethod
    async def send(producer, r):
        """Writes the records of a request and waits for their offsets."""
        sent = []
        for record in r["records"]:
            sent.append(
                await producer.send(
                    r["topic"],
                    value=p.decode(record["value"]),
                    key=p.decode(record["key"]),
                    headers=p.headers_of(record),
                    partition=r["partition"],
                    timestamp_ms=record["timestamp"] or None,
                )
            )
        return {"offsets": [one.offset for one in await asyncio.gather(*sent)]}

    async def op_consume(self, r):
        isolation = r.get("isolation") or "read_uncommitted"
        consumer = aiokafka.AIOKafkaConsumer(
            **self.base, fetch_max_wait_ms=100, auto_offset_reset="earliest", isolation_level=isolation
        )
        await consumer.start()
        try:
            wanted = [
                TopicPartition(topic["topic"], one["partition"])
                for topic in await self.admin.describe_topics(r["topics"])
                for one in topic["partitions"]
            ]
            consumer.assign(wanted)
            await consumer.seek_to_beginning(*wanted)
            return {"records": [answer(m) async for m in self.read(consumer, r)]}
        finally:
            await consumer.stop()

    @staticmethod
    async def read(consumer, r):
        end, left = p.deadline(r), r["count"]
        while left:
            for messages in (await consumer.getmany(timeout_ms=200, max_records=min(left, 5000))).values():
                left -= len(messages)
                for message in messages:
                    yield message
            p.check_deadline(end)

    async def op_list_offsets(self, r):
        asked = TopicPartition(r["topic"], r["partition"])
        low = (await self.lookup.beginning_offsets([asked]))[asked]
        return {"earliest": low, "latest": (await self.lookup.end_offsets([asked]))[asked]}

    async def op_offset_for_time(self, r):
        asked = TopicPartition(r["topic"], r["partition"])
        found = (await self.lookup.offsets_for_times({asked: r["timestamp"]}))[asked]
        return {"offset": -1 if found is None else found.offset}

    async def op_delete_records(self, r):
        asked = TopicPartition(r["topic"], r["partition"])
        done = await self.admin.delete_records({asked: RecordsToDelete(r["before"])})
        return {"offset": done[asked]}

    # groups

    def group(self, r, **more):
        return aiokafka.AIOKafkaConsumer(
            **self.base,
            group_id=r["group"],
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=100,
            heartbeat_interval_ms=300,
            session_timeout_ms=10000,
            **more,
        )

    async def op_group_read(self, r):
        consumer = self.group(r)
        consumer.subscribe(p.topics_of(r))
        await consumer.start()
        try:
            out, position = [], {}
            async for message in self.read(consumer, r):
                out.append(answer(message))
                position[TopicPartition(message.topic, message.partition)] = message.offset + 1
            await consumer.commit(position)
            return {"records": out}
        finally:
            await consumer.stop()

    async def op_digest_group(self, r):
        consumer = self.group(r)
        consumer.subscribe(p.topics_of(r))
        await consumer.start()
        try:
            digests, position = p.Digests(), {}
            async for message in self.read(consumer, r):
                digests.add(message.topic, message.key, message.value)
                position[(message.topic, message.partition)] = message.offset + 1
            await consumer.commit({TopicPartition(*where): offset for where, offset in position.items()})
            return digests.finish()
        finally:
            await consumer.stop()

    async def op_committed(self, r):
        found = await self.admin.list_consumer_group_offsets(r["group"])
        return {"offsets": {where.partition: one.offset for where, one in found.items() if where.topic == r["topic"]}}

    async def op_list_groups(self, _):
        return {"names": sorted(group[0] for group in await self.admin.list_consumer_groups())}

    async def op_describe_group(self, r):
        code, _, state, _, _, members, *_ = (await self.admin.describe_consumer_groups([r["group"]]))[0].groups[0]
        check(code)
        return {"state": state, "members": len(members)}

    # transactions

    async def transactional(self, r):
        codec = r.get("compression") or "none"
        producer = aiokafka.AIOKafkaProducer(
            **self.base,
            transactional_id=r["id"],
            transaction_timeout_ms=r["timeout_ms"],
            compression_type=None if codec == "none" else codec,
            linger_ms=5,
        )
        await producer.start()
        return producer

    async def op_txn_open(self, r):
        self.producers[r["producer"]] = await self.transactional(r)

    async def op_txn_begin(self, r):
        await self.producers[r["producer"]].begin_transaction()

    async def op_txn_send(self, r):
        return await self.send(self.producers[r["producer"]], r)

    async def op_txn_end(self, r):
        await self.end(self.producers[r["producer"]], r)

    @staticmethod
    async def end(producer, r):
        if r["commit"]:
            await producer.commit_transaction()
        else:
            await producer.abort_transaction()

    async def op_txn_close(self, r):
        await self.producers.pop(r["producer"]).stop()

    async def op_txn_transform(self, r):
        producer = await self.transactional(r)
        consumer = self.group(r, isolation_level="read_committed")
        consumer.subscribe([r["topic"]])
        await consumer.start()
        try:
            await producer.begin_transaction()
            async for message in self.read(consumer, r):
                value = p.transformed(message.value)
                await producer.send(r["topics"][0], value=value, key=message.key, partition=0)
                position = {TopicPartition(message.topic, message.partition): message.offset + 1}
            await producer.flush()  # an abort drops what was not sent yet
            await producer.send_offsets_to_transaction(position, r["group"])
            await self.end(producer, r)
            return {"count": r["count"]}
        finally:
            await consumer.stop()
            await producer.stop()

    async def op_member_open(self, r):
        name, assignments = r["member"], self.assignments

        class Listener(aiokafka.ConsumerRebalanceListener):
            def on_partitions_assigned(self, assigned):
                assignments.put(name, [one.partition for one in assigned])

            def on_partitions_revoked(self, revoked):
                assignments.remove(name, [one.partition for one in revoked])

        consumer = self.group(r)
        consumer.subscribe([r["topic"]], listener=Listener())
        assignments.put(name, [])

        async def follow():
            try:
                await consumer.start()
                try:
                    while True:
                        await consumer.getmany(timeout_ms=50)
                finally:
                    await consumer.stop()
            except Exception as error:
                assignments.fail(name, error)

        self.members[name] = asyncio.ensure_future(follow())

    async def op_member_state(self, _):
        return self.assignments.answer()

    async def op_member_close(self, r):
        task = self.members.pop(r["member"])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self.assignments.forget(r["member"])


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
