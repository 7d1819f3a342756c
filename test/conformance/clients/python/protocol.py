"""What the drivers share: records to and from JSON, digests, errors that no broker sent."""

import base64
import hashlib
import threading
import time

LOCAL_ERROR = -1000


def decode(text):
    return None if text is None else base64.b64decode(text)


def encode(data):
    return None if data is None else base64.b64encode(data).decode("ascii")


def headers_of(record):
    return [(header["name"], decode(header["value"])) for header in record.get("headers") or []]


def record_answer(topic, partition, offset, timestamp, key, value, headers):
    return {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp": timestamp,
        "key": encode(key),
        "value": encode(value),
        "headers": [{"name": name, "value": encode(data)} for name, data in headers or []],
    }


def transformed(value):
    """What txn_transform makes of a value."""
    return b"seen " + value


def topics_of(request):
    return [request["topic"]] if request.get("topic") else request["topics"]


def deadline(request):
    return time.monotonic() + request["seconds"]


def check_deadline(end):
    if time.monotonic() > end:
        raise TimeoutError("the operation took too long")


class Digests:
    """Per topic and key: the count and a hash of all values in the order they came."""

    def __init__(self):
        self.entries = {}

    def add(self, topic, key, value):
        entry = self.entries.get((topic, key))
        if entry is None:
            entry = self.entries[(topic, key)] = [0, hashlib.sha256()]
        entry[0] += 1
        entry[1].update(value + b"\n")

    def finish(self):
        topics = {}
        for (topic, key), (count, digest) in self.entries.items():
            topics.setdefault(topic, {})[key.decode()] = {"count": count, "hash": digest.hexdigest()}
        return {"topics": topics}


class Assignments:
    """The partitions that each open member of a group holds, and who ended by itself; safe for use by several threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.held = {}
        self.failed = {}

    def put(self, member, partitions):
        with self.lock:
            self.held[member] = sorted(partitions)

    def add(self, member, partitions):
        with self.lock:
            self.held[member] = sorted(set(self.held.get(member, [])) | set(partitions))

    def remove(self, member, partitions):
        with self.lock:
            self.held[member] = sorted(set(self.held.get(member, [])) - set(partitions))

    def fail(self, member, error):
        """The member has ended without having been asked to; every answer says so until it is forgotten."""
        with self.lock:
            self.failed[member] = error

    def forget(self, member):
        """The member is closed; raises what it failed with."""
        with self.lock:
            self.held.pop(member, None)
            error = self.failed.pop(member, None)
        if error is not None:
            raise MemberFailed(member, error)

    def answer(self):
        with self.lock:
            for member, error in self.failed.items():
                raise MemberFailed(member, error)
            return {"assignments": {member: list(held) for member, held in self.held.items()}}


class MemberFailed(Exception):
    """A member of a group ended by itself."""

    def __init__(self, member, error):
        super().__init__(f"member {member}: {type(error).__name__}: {error}")


class Member:
    """A member of a group that polls in a thread of its own until it is closed; assignments tell what ended it before."""

    def __init__(self, name, assignments, poll, leave):
        self.name, self.assignments, self.poll, self.leave = name, assignments, poll, leave
        self.stop = threading.Event()
        assignments.put(name, [])
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        try:
            while not self.stop.is_set():
                self.poll()
            self.leave()
        except Exception as error:
            self.assignments.fail(self.name, error)

    def close(self, seconds):
        self.stop.set()
        self.thread.join(seconds)
        if self.thread.is_alive():
            raise TimeoutError(f"member {self.name} does not end")
        self.assignments.forget(self.name)
