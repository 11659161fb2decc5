"""What an ONNX file says of itself, read without the onnx package: whether it would have other files read."""

from collections.abc import Iterator

VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
"""Wire types of protobuf."""

# Message -> number of a field -> the message in it: the ways from a model to its tensors (onnx.proto, IR version 13).
WAYS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
}
EXTERNAL_DATA, DATA_LOCATION = 13, 14
"""Fields of a tensor: where its values lie in another file, and whether they do (0: no)."""

MOST_FIELDS = 200_000
"""More are no network: those of ours have some thousands."""

DEEPEST = 50
"""Messages within messages."""


def names_other_files(onnx: bytes) -> bool:
    """Say whether a tensor of an ONNX file has its values elsewhere: an engine would read any file that it names.

    Takes time in proportion to the number of fields, not to the size of the weights.

    Raises:
        ValueError: The bytes are no protobuf message, or one of a size or depth that no network has.

    >>> names_other_files(b"")
    False
    """
    whole = memoryview(onnx)
    todo = [("model", whole, 0)]
    fields = 0
    while todo:
        message, content, depth = todo.pop()
        if depth > DEEPEST:
            raise ValueError(f"messages lie more than {DEEPEST} deep")
        for number, value in _fields(content):
            fields += 1
            if fields > MOST_FIELDS:
                raise ValueError(f"there are more than {MOST_FIELDS} fields")
            if message == "tensor":
                if number == EXTERNAL_DATA or (number == DATA_LOCATION and value != 0):
                    return True
            elif number in WAYS[message] and isinstance(value, memoryview):
                todo.append((WAYS[message][number], value, depth + 1))
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message in their order: number, and value or content."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == VARINT:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        if kind == LENGTH:
            size, place = _varint(message, place)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            size = 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError(f"wire type {kind} is not one of ONNX")
        if size > len(message) - place:
            raise ValueError("a field is longer than its message")
        yield key >> 3, message[place : place + size]
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number of variable length, and where the next thing begins."""
    value = 0
    for k in range(10):
        if place + k >= len(message):
            raise ValueError("a number is cut off")
        byte = message[place + k]
        value |= (byte & 127) << 7 * k
        if byte < 128:
            return value, place + k + 1
    raise ValueError("a number is longer than 10 bytes")
