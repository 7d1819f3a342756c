"""Judges the service `kafka` by the service model inside botocore.

Reads one JSON object from standard input:
  {"calls": [{"name", "operation", "params", "query", "body", "answer"}]}
and writes one to standard output:
  {"table":  [{"name", "method", "path", "status", "errors"}],   every operation of the model
   "faults": ["..."],                                            what of the answers, or of the requests, does not keep to the model
   "bad":    [{"call", "field", "why", "query", "params", "body"}]}   requests made wrong in one place
"""
import base64
import copy
import json
import sys
from datetime import datetime

import botocore.parsers
import botocore.session

model = botocore.session.get_session().get_service_model("kafka", api_version="2018-11-14")
faults = []


def wire(shape, name):
    return shape.members[name].serialization.get("name", name)


def check(where, shape, value, strict):
    """Whether a JSON value is of a shape. strict: fields that the model does not know are faults."""
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            return faults.append(f"{where}: not an object")
        names = {wire(shape, n): n for n in shape.members if "location" not in shape.members[n].serialization}
        for key, v in value.items():
            if key in names:
                check(f"{where}.{key}", shape.members[names[key]], v, strict)
            elif strict:
                faults.append(f"{where}.{key}: the model does not have it")
        for n in shape.required_members:
            if wire(shape, n) in names and wire(shape, n) not in value:
                faults.append(f"{where}.{wire(shape, n)}: required and missing")
    elif kind == "list":
        if not isinstance(value, list):
            return faults.append(f"{where}: not a list")
        for i, v in enumerate(value):
            check(f"{where}[{i}]", shape.member, v, strict)
    elif kind == "map":
        if not isinstance(value, dict):
            return faults.append(f"{where}: not a map")
        for k, v in value.items():
            check(f"{where}[{k}]", shape.value, v, strict)
    elif kind == "timestamp":
        try:
            datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ")
        except (TypeError, ValueError):
            faults.append(f"{where}: {value!r} is not a time as ISO 8601")
    elif kind == "blob":
        try:
            base64.b64decode(value, validate=True)
        except (TypeError, ValueError):
            faults.append(f"{where}: not base64")
    else:
        types = {"string": str, "integer": int, "long": int, "double": float, "float": float, "boolean": bool}
        if not isinstance(value, types[kind]) or kind in ("integer", "long") and isinstance(value, bool):
            return faults.append(f"{where}: {value!r} is not a {kind}")
        if shape.metadata.get("enum") and value not in shape.metadata["enum"]:
            faults.append(f"{where}: {value!r} is not of {shape.metadata['enum']}")
        size = len(value) if kind == "string" else value
        if "min" in shape.metadata and size < shape.metadata["min"] or "max" in shape.metadata and size > shape.metadata["max"]:
            faults.append(f"{where}: {value!r} is out of range")


def parsed(call, op):
    """What a client of botocore makes of the answer has all that was in it."""
    parser = botocore.parsers.create_parser(model.metadata["protocol"])
    got = parser.parse({"body": call["answer"].encode(), "headers": {}, "status_code": op.http.get("responseCode", 200)}, op.output_shape)
    told = json.loads(call["answer"])
    got.pop("ResponseMetadata", None)
    if len(got) != len(told):
        faults.append(f"{call['name']}: botocore reads {sorted(got)} of {sorted(told)}")


WRONG = {"string": 7, "integer": "x", "long": "x", "double": "x", "boolean": "x", "structure": "x", "list": "x", "map": "x", "blob": 7}


def wrongs(shape, value):
    """Ways to make a value wrong: (field, why, what it becomes)."""
    kind, meta = shape.type_name, shape.metadata
    yield "", "type", WRONG[kind]
    if kind == "blob":
        yield "", "base64", "%%%"
    if kind == "string":
        if meta.get("enum"):
            yield "", "enum", "NO_SUCH_VALUE"
            yield "", "enum", meta["enum"][0].lower()
        if meta.get("min"):
            yield "", "min", "x" * (meta["min"] - 1)
        if meta.get("max"):
            yield "", "max", "x" * (meta["max"] + 1)
    if kind in ("integer", "long"):
        if "min" in meta:
            yield "", "min", meta["min"] - 1
        if "max" in meta:
            yield "", "max", meta["max"] + 1
        yield "", "range", 1 << 70
        yield "", "type", 1.5
    if kind == "list":
        for field, why, v in wrongs(shape.member, value[0]) if value else []:
            yield field, why, [v] + value[1:]
        yield "", "null", [None]
    if kind == "map" and value:
        yield "", "type", {k: 7 for k in value}
    if kind == "structure":
        names = {wire(shape, n): n for n in shape.members if "location" not in shape.members[n].serialization}
        for key, n in names.items():
            if n in shape.required_members:
                without = copy.deepcopy(value)
                without.pop(key, None)
                yield key, "missing", without
                yield key, "null", dict(value, **{key: None})
            if key in value:
                for field, why, v in wrongs(shape.members[n], value[key]):
                    yield field or key, why, dict(value, **{key: v})


def bad(call, op):
    """Requests that are the call's, wrong in one place."""
    shape = op.input_shape
    made = lambda **k: dict({"call": call["name"], "query": call["query"], "params": call["params"], "body": call["body"]}, **k)
    names = [n for n in shape.members if "location" not in shape.members[n].serialization]
    if names:
        for field, why, v in wrongs(shape, json.loads(call["body"])):
            if isinstance(v, dict):
                yield made(field=field, why=why, body=json.dumps(v))
        for text in ("", "[]", "{", '{"a":1}x', "null", '"x"', "\xff"):
            if text or shape.required_members and any(n in names for n in shape.required_members):
                yield made(field="", why="body", body=text)
    for n, member in shape.members.items():
        at, key = member.serialization.get("location"), wire(shape, n)
        if at == "uri" and key not in ("topicName",):
            for text in ("x", "", "arn:aws:kafka:us-east-1:123456789012:nothing/orders/1", "arn:aws:kafka:eu-west-1:123456789012:cluster/orders/"
                         "00000001-1111-4222-8333-444444444444-1"):
                yield made(field=key, why="label", params=dict(call["params"], **{key: text}))
        if at == "querystring" and member.type_name == "integer":
            for text in ("0", "101", "x", "1.5"):
                yield made(field=key, why="range", query=dict(call["query"], **{key: [text]}))
        if at == "querystring" and key == "nextToken":
            for text in ("x", "e30", "%%%"):
                yield made(field=key, why="token", query=dict(call["query"], **{key: [text]}))


def main():
    asked = json.load(sys.stdin)
    table, out = [], []
    for name in model.operation_names:
        op = model.operation_model(name)
        table.append({"name": name, "method": op.http["method"], "path": op.http["requestUri"].split("?")[0],
                      "status": op.http.get("responseCode", 200), "errors": sorted(
                          [s.name, s.metadata["error"]["httpStatusCode"]] for s in op.error_shapes)})
    for call in asked["calls"]:
        op = model.operation_model(call["operation"])
        if call["body"]:
            check(call["name"] + " request", op.input_shape, json.loads(call["body"]), True)
        check(call["name"], op.output_shape, json.loads(call["answer"]), True)
        parsed(call, op)
        out.extend(bad(call, op))
    json.dump({"table": table, "faults": faults, "bad": out}, sys.stdout)


main()
