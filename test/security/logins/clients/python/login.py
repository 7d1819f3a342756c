"""Logs in as each case says, with confluent-kafka and kafka-python and the Python signer of AWS."""

import json
import logging
import os
import sys
import time

import botocore.credentials
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
from kafka.errors import KafkaConnectionError, SaslAuthenticationFailedError


class Given(botocore.credentials.CredentialProvider):
    """Credentials of one case."""

    METHOD = CANONICAL_NAME = "given"

    def __init__(self, case):
        super().__init__()
        self.case = case

    def load(self):
        return botocore.credentials.Credentials(
            self.case["access_key"], self.case["secret_key"], self.case.get("session_token") or None
        )


def token(case):
    """The token of a case, and when it ends in seconds."""
    if case["method"] == "token":
        return case["token"], time.time() + 300
    text, ends = MSKAuthTokenProvider.generate_auth_token_from_credentials_provider(case["region"], Given(case))
    return text, ends / 1000


def confluent(case, consumed):
    from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

    faults = []
    sasl, tls = case["method"] != "none", bool(case.get("ca"))
    config = {
        "bootstrap.servers": case["bootstrap"],
        "security.protocol": ("SASL_" if sasl else "") + ("SSL" if tls else "PLAINTEXT"),
        "error_cb": faults.append,
        "log_level": 0,
    }
    if tls:
        config["ssl.ca.location"] = case["ca"]
    if case.get("cert"):
        config["ssl.certificate.location"], config["ssl.key.location"] = case["cert"], case["key"]
    if case["method"] == "scram":
        config.update({"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": case["user"], "sasl.password": case["password"]})
    elif sasl:
        config.update({"sasl.mechanism": "OAUTHBEARER", "oauth_cb": lambda _: token(case)})
    limit = case["timeout_ms"] / 1000
    reports = []
    producer = Producer({**config, "message.timeout.ms": case["timeout_ms"], "linger.ms": 0})
    producer.produce(case["topic"], case["value"].encode(), partition=0, on_delivery=lambda err, _: reports.append(err))
    end = time.monotonic() + limit
    while not reports and time.monotonic() < end:
        producer.poll(0.05)
        refused = [f for f in faults if f.name() in ("_AUTHENTICATION", "_SSL") or "alert" in f.str()]
        if refused:
            raise KafkaException(refused[0])
    if not reports or reports[0] is not None:
        raise RuntimeError(f"not delivered: {reports} {faults}")
    consumer = Consumer({**config, "group.id": "assigned", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(case["topic"], 0, 0)])
        while case["value"] not in consumed:
            if time.monotonic() > end + limit:
                raise RuntimeError(f"the record did not come back in time: {faults}")
            message = consumer.poll(0.1)
            if message is not None:
                if message.error():
                    raise KafkaException(message.error())
                consumed.append(message.value().decode())
    finally:
        consumer.close()


def refusals_end_it(record):
    """A filter of kafka-python's log that has a bootstrap end when it is refused, with the library's own exception.

    kafka-python 3.0.12 tries again until its time is up, whatever a login is answered with. What it failed with it writes to its log
    before that, and what a filter of the log raises there goes up to the bootstrap, and so to who waits for it.
    """
    for what in record.args if isinstance(record.args, tuple) else ():
        if isinstance(what, SaslAuthenticationFailedError):
            raise what
        if isinstance(what, KafkaConnectionError) and ("Handshake failed" in str(what) or "ALERT" in str(what).upper()):
            raise what
    return True


logging.getLogger("kafka.net.manager").addFilter(refusals_end_it)


def kafka_python(case, consumed):
    import kafka
    from kafka.net.sasl.oauth import AbstractTokenProvider


    class Tokens(AbstractTokenProvider):
        def token(self):
            return token(case)[0]

    sasl, tls = case["method"] != "none", bool(case.get("ca"))
    config = {
        "bootstrap_servers": case["bootstrap"],
        "security_protocol": ("SASL_" if sasl else "") + ("SSL" if tls else "PLAINTEXT"),
        "request_timeout_ms": case["timeout_ms"],
        "bootstrap_timeout_ms": case["timeout_ms"],
    }
    if tls:
        config["ssl_cafile"] = case["ca"]
    if case.get("cert"):
        config["ssl_certfile"], config["ssl_keyfile"] = case["cert"], case["key"]
    if case["method"] == "scram":
        config.update(sasl_mechanism="SCRAM-SHA-512", sasl_plain_username=case["user"], sasl_plain_password=case["password"])
    elif case["method"] == "iam":
        os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"] = case["access_key"], case["secret_key"]
        os.environ["AWS_DEFAULT_REGION"] = os.environ["AWS_REGION"] = case["region"]
        os.environ.pop("AWS_SESSION_TOKEN", None)
        if case.get("session_token"):
            os.environ["AWS_SESSION_TOKEN"] = case["session_token"]
        config["sasl_mechanism"] = "AWS_MSK_IAM"
    elif sasl:
        config.update(sasl_mechanism="OAUTHBEARER", sasl_oauth_token_provider=Tokens())
    limit = case["timeout_ms"] / 1000
    producer = kafka.KafkaProducer(**config, max_block_ms=case["timeout_ms"], delivery_timeout_ms=case["timeout_ms"] + 1000)
    try:
        producer.send(case["topic"], case["value"].encode(), partition=0).get(timeout=limit)
    finally:
        producer.close(timeout=1)
    consumer = kafka.KafkaConsumer(**config, enable_auto_commit=False, group_id=None)
    try:
        partition = kafka.TopicPartition(case["topic"], 0)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        end = time.monotonic() + limit
        while case["value"] not in consumed:
            if time.monotonic() > end:
                raise RuntimeError("the record did not come back in time")
            for messages in consumer.poll(timeout_ms=100).values():
                consumed.extend(m.value.decode() for m in messages)
    finally:
        consumer.close()


CLIENTS = {"confluent": confluent, "kafka-python": kafka_python}

for line in sys.stdin:
    case = json.loads(line)
    consumed, error = [], ""
    try:
        CLIENTS[case["client"]](case, consumed)
    except Exception as e:  # whatever a library says is the answer
        error = f"{type(e).__name__}: {e}"
    print(json.dumps({"id": case["id"], "consumed": consumed, "error": error}), flush=True)
