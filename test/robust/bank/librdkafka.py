"""A teller that speaks through librdkafka: one JSON request a line on standard input, one answer a line on standard output."""

import base64
import json
import sys

import confluent_kafka as ck


class Teller:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.producer = None

    def open(self, r):
        """Take a transactional id over; a producer that was open is left as it is, with its transaction."""
        self.producer = ck.Producer({
            "bootstrap.servers": self.bootstrap,
            "transactional.id": r["id"],
            "transaction.timeout.ms": r["timeout_ms"],
            "linger.ms": 0,
            "retry.backoff.ms": 20,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 100,
        })
        self.again(self.producer.init_transactions)

    def send(self, r):
        self.producer.begin_transaction()
        offsets = [-1] * len(r["records"])
        failed = []

        def delivered(number):
            def report(error, message):
                if error is None:
                    offsets[number] = message.offset()
                else:
                    failed.append(error)
            return report

        for number, record in enumerate(r["records"]):
            self.producer.produce(record["topic"], base64.b64decode(record["value"]), partition=record["partition"],
                                  on_delivery=delivered(number))
        self.producer.flush()
        return {"offsets": offsets, "error": failed[0].name() if failed else ""}

    def commit(self, _):
        self.again(self.producer.commit_transaction)

    def abort(self, _):
        self.again(self.producer.abort_transaction)

    @staticmethod
    def again(call):
        """Call until the outcome is one that no repetition changes, as librdkafka wants it."""
        while True:
            try:
                return call(5)
            except ck.KafkaException as e:
                if not e.args[0].retriable():
                    raise


def main():
    teller = Teller(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(teller, request["op"])(request) or {}
        except ck.KafkaException as e:
            answer = {"error": e.args[0].name()}
        print(json.dumps(answer), flush=True)


main()
