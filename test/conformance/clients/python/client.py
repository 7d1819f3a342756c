"""Drives one of the Python client libraries for Kafka by the line protocol of test/conformance (see ../README.md).

Usage: client.py confluent-kafka|kafka-python|aiokafka BOOTSTRAP
"""

import importlib
import json
import logging
import sys

LIBRARIES = {
    "confluent-kafka": "driver_confluent",
    "kafka-python": "driver_kafka_python",
    "aiokafka": "driver_aiokafka",
}


def main():
    # The test shows what comes here when it fails; by itself kafka-python keeps its warnings and errors to itself.
    logging.basicConfig(level=logging.WARNING)
    library, bootstrap = sys.argv[1:]
    driver = importlib.import_module(LIBRARIES[library]).Driver(bootstrap)
    operations = {name[3:]: getattr(driver, name) for name in dir(driver) if name.startswith("op_")}
    say(
        {
            "client": library,
            "version": driver.version,
            "operations": sorted(operations),
            "codecs": driver.codecs,
            "features": driver.features,
        }
    )
    for line in sys.stdin:
        request = json.loads(line)
        try:
            result = operations[request["op"]](request)
            say({"result": result or {}})
        except Exception as error:  # every failure is an answer; the test judges it
            kind = driver.kind(error) if hasattr(driver, "kind") else type(error).__name__
            say({"error": {"code": driver.code(error), "kind": kind, "message": f"{type(error).__name__}: {error}"}})


def say(answer):
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
