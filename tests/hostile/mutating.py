"""Mutations that know a format's structure: its opcodes, headers, chunks and fields, not bytes alone."""

from __future__ import annotations

import io
import itertools
import json
import pickletools
import random
import struct
import zipfile
from collections.abc import Callable, Iterator

from tests.hostile.assembling import archive, model, name, number, records_of, tensor, text, zipped

EXTREMES = (
    0,
    1,
    2,
    127,
    255,
    256,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
Mutate = Callable[[random.Random], bytes]


def mutated(make: Mutate, count: int, seed: int) -> Iterator[bytes]:
    """`count` files, each by its own draw."""
    for row in range(count):
        yield make(random.Random(f"{seed} {row}"))


def opcodes(data: bytes) -> list[bytes]:
    """A pickle in pieces, one an opcode."""
    places = [place or 0 for _, _, place in pickletools.genops(data)]
    return [data[a:b] for a, b in zip(places, [*places[1:], len(data)], strict=True)]


_EVIL = (
    name("os", "system"),
    name("builtins", "eval"),
    name("torch._utils", "_rebuild_meta_tensor_no_storage"),
)
_CODES = [code.code.encode("latin-1") for code in pickletools.opcodes]


def mutate_pickle(data: bytes, draw: random.Random) -> bytes:
    """One to three opcodes dropped, doubled, moved, exchanged, given other numbers, or added."""
    parts = opcodes(data)
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(1, len(parts))
        part = parts[at]
        kind = draw.randrange(9)
        if kind == 0:
            del parts[at]
        elif kind == 1:
            parts[at:at] = [part] * draw.choice([1, 2, 1000])
        elif kind == 2:
            other = draw.randrange(1, len(parts))
            parts[at], parts[other] = parts[other], part
        elif kind == 3:
            parts[at] = number(draw.choice([*EXTREMES, -1, -(2**31), 10**30]))
        elif kind == 4:
            parts[at] = text(draw.choice(["", "storage", "0", "cpu", "..", "k" * 3000, "\x1b[2J"]))
        elif kind == 5:
            parts[at] = draw.choice(_EVIL)
        elif kind == 6:
            parts[at:at] = [
                draw.choice(
                    [
                        b"(",
                        b"0",
                        b"1",
                        b"2",
                        b"}",
                        b"]",
                        b")",
                        b"N",
                        b"R",
                        b"b",
                        b"Q",
                        b"\x81",
                        b"t",
                        b"u",
                        b"e",
                        b"\x94",
                    ]
                )
            ]
        elif kind == 7:
            parts[at] = draw.choice(_CODES) + part[1:]
        else:
            parts = parts[:at]
        if len(parts) < 2:
            break
    return b"".join(parts)


def pickled_model(draw: random.Random) -> bytes:
    """A checkpoint whose pickle is mutated; the archive around it is right."""
    return archive(mutate_pickle(model(tensor((10, 10), (10, 1)), (text("epoch"), number(3))), draw))


def legacy_model(data: bytes, draw: random.Random) -> bytes:
    """The format before 1.6: one of its five pickles mutated, or the counts of its storages."""
    stream, places = io.BytesIO(data), [0]
    for _ in range(5):
        for _, _, _ in pickletools.genops(stream):
            pass
        places.append(stream.tell())
    parts = [data[a:b] for a, b in itertools.pairwise(places)]
    numbers = bytearray(data[places[-1] :])
    if draw.random() < 0.7:
        at = draw.randrange(1, 5)
        parts[at] = mutate_pickle(parts[at], draw)
    else:
        numbers[:8] = struct.pack("<Q", draw.choice(EXTREMES))
    return b"".join(parts) + bytes(numbers[: draw.choice([len(numbers), draw.randrange(len(numbers))])])


#: Fields of a zip's headers: where, and how wide.
_LOCAL = ((4, 2), (6, 2), (8, 2), (10, 4), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2), (30, 2))
_CENTRAL = (
    (4, 2),
    (6, 2),
    (8, 2),
    (10, 2),
    (16, 4),
    (20, 4),
    (24, 4),
    (28, 2),
    (30, 2),
    (32, 2),
    (34, 2),
    (42, 4),
    (46, 2),
)
_END = ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2))


def mutate_zip(data: bytes, draw: random.Random) -> bytes:
    """One or two fields of its headers set to other numbers, or records doubled, dropped, renamed, moved, packed."""
    kind = draw.randrange(8)
    if kind < 5:
        raw = bytearray(data)
        for _ in range(draw.randint(1, 2)):
            magic, fields = draw.choice(
                [
                    (b"PK\3\4", _LOCAL),
                    (b"PK\1\2", _CENTRAL),
                    (b"PK\5\6", _END),
                    (b"PK\6\6", tuple((4 + 8 * i, 8) for i in range(6))),
                ]
            )
            places = [i for i in range(len(raw)) if raw.startswith(magic, i)]
            if not places:
                continue
            at, width = draw.choice(fields)
            at += draw.choice(places)
            value = draw.choice([*EXTREMES, draw.randrange(1 << 16), len(raw)]) % (1 << (8 * width))
            raw[at : at + width] = value.to_bytes(width, "little")
        return bytes(raw)
    records = records_of(data)
    at = draw.randrange(len(records))
    if kind == 5:
        records.insert(
            draw.randrange(len(records)), (records[at][0], draw.choice([b"", records[0][1], bytes(1 << 16)]))
        )
    elif kind == 6:
        records[at] = (
            draw.choice([" ", "a", "a/data.pkl", "../x", "/x", "a/data/0", "a\\b", "x" * 300, "a/\x1b[2J"]),
            records[at][1],
        )
    else:
        draw.shuffle(records)
        del records[: draw.randrange(2)]
    return zipped(records, draw.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]))


def mutate_safetensors(data: bytes, draw: random.Random) -> bytes:
    """Its JSON header with other types, shapes, places and names, or another length of it."""
    size = int.from_bytes(data[:8], "little")
    header, numbers = json.loads(data[8 : 8 + size]), data[8 + size :]
    keys = [key for key in header if key != "__metadata__"]
    for _ in range(draw.randint(1, 2)):
        entry = header[draw.choice(keys)]
        field = draw.choice(["dtype", "shape", "data_offsets"])
        strange = [
            None,
            "F32",
            "F64",
            "U8",
            "X",
            {},
            [],
            [[]],
            [1],
            [-1, 4],
            True,
            1.5,
            "x" * 5000,
            *EXTREMES,
        ]
        if draw.random() < 0.5 and isinstance(entry.get(field), list) and entry[field]:
            entry[field][draw.randrange(len(entry[field]))] = draw.choice(strange)
        else:
            entry[field] = draw.choice([*strange, [draw.choice(EXTREMES) for _ in range(draw.randrange(4))]])
        if draw.random() < 0.2:
            entry.pop(field)
    encoded = json.dumps(header).encode()
    kind = draw.randrange(8)
    if kind == 0:
        encoded = encoded.replace(b"}", b',"x":' * draw.choice([1, 5000]) + b"}", 1)
    elif kind == 1:
        encoded = b"[" * 100_000 + encoded
    elif kind == 2:
        encoded = b"{" + encoded[1:-1] + b"," + encoded[1:]
    length = len(encoded) if kind < 6 else draw.choice(EXTREMES)
    return struct.pack("<Q", length % (1 << 64)) + encoded + numbers[: draw.choice([len(numbers), 10])]
