"""Holds JSON answers to the shapes of a service model of botocore."""


def faults(where, shape, value):
    """What of a decoded JSON value is not as the shape wants it, a line each."""
    kind = shape.type_name
    if kind == "structure":
        return structure(where, shape, value)
    if kind == "list":
        if not isinstance(value, list):
            return [f"{where}: {value!r} is not a list"]
        return [f for i, v in enumerate(value) for f in faults(f"{where}[{i}]", shape.member, v)]
    if kind == "map":
        if not isinstance(value, dict):
            return [f"{where}: {value!r} is not a map"]
        return [f for k, v in value.items() for f in faults(f"{where}.{k}", shape.value, v)]
    return scalar(where, shape, value)


def structure(where, shape, value):
    if not isinstance(value, dict):
        return [f"{where}: {value!r} is not an object"]
    members = {m.serialization.get("name", n): (n, m) for n, m in shape.members.items() if "location" not in m.serialization}
    out = [f"{where}: {name} is missing" for name, (n, _) in members.items() if n in shape.required_members and name not in value]
    for name, v in value.items():
        if name not in members:
            out.append(f"{where}: the model has no {name}")
        else:
            out += faults(f"{where}.{name}", members[name][1], v)
    return out


def scalar(where, shape, value):
    kinds = {"string": str, "timestamp": str, "blob": str, "boolean": bool, "integer": int, "long": int, "double": (int, float)}
    if not isinstance(value, kinds[shape.type_name]) or isinstance(value, bool) != (shape.type_name == "boolean"):
        return [f"{where}: {value!r} is not of type {shape.type_name}"]
    if shape.type_name == "string" and shape.enum and value not in shape.enum:
        return [f"{where}: {value!r} is none of {shape.enum}"]
    return []
