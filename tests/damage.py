"""Random damage to files, as disks, editors and strangers do it."""

import copy
import json
import random
from collections.abc import Iterator

JUNK = (
    *(None, True, "x", "", -1, 0, 2, 0.5, 1e300, 10**400, 2**63, -(2**70)),
    *([], {}, [[]], [1, "x"], {"x": 1}, "nan", [None], float("nan"), float("inf")),
)
"""Values of every kind, and of no use."""


def damaged_bytes(whole: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Files with bits flipped, cut short, overwritten, repeated, or with something in between."""
    rng = random.Random(seed)
    for _ in range(count):
        data = bytearray(whole)
        at, end = sorted(rng.choices(range(len(data)), k=2))
        match rng.randrange(7):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                del data[at:]
            case 2:
                del data[at:end]
            case 3:
                data[at:end] = bytes(end - at)
            case 4:
                data[at:at] = rng.randbytes(rng.randrange(1, 40))
            case 5:
                data[at:at] = data[at:end]
            case 6:
                for _ in range(10):
                    data[rng.randrange(len(data))] = rng.randrange(256)
        yield bytes(data)
    yield b""
    yield b"[" * 100_000
    yield b'{"a":' * 100_000
    yield b"9" * 10_000
    yield b"\xff\xfe" + whole


def damaged_values(whole: object, count: int, seed: int = 0) -> Iterator[object]:
    """JSON values of which one, at any depth, is another, is missing, or has a stranger beside."""
    rng = random.Random(seed)
    for _ in range(count):
        content = copy.deepcopy(whole)
        places = list(_places(content))
        holder, key = rng.choice(places)
        match rng.randrange(6):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[f"{key}x"] = rng.choice(JUNK)
            case _:
                holder[key] = rng.choice(JUNK)
        yield content


def _places(content):
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in list(items):
        yield content, key
        if isinstance(value, dict | list):
            yield from _places(value)


def as_bytes(content: object) -> bytes:
    return json.dumps(content).encode()
