"""Mutations of data sets' formats: arrays, `.mat`, pictures, idx."""

from __future__ import annotations

import random
import struct
import zipfile
import zlib

from tests.hostile.assembling import records_of, zipped
from tests.hostile.mutating import EXTREMES, mutate_zip


def mutate_npy(data: bytes, draw: random.Random) -> bytes:
    """A `.npy`'s header: type, shape, order, version, length."""
    size = struct.unpack_from("<H", data, 8)[0]
    numbers = data[10 + size :]
    types = ["'|O'", "'<U100'", "'|V8'", "'<M8[s]'", "'<f2'", "'<c16'", "'>u1'", "'|b1'", "'<i8'", "'|u1'", "'<f16'", "[('a','|O')]", "('<u1',(1000000,))",
             "'" + "x" * 500 + "'", "None", "1e999", "[[[[]]]]", "__import__('os')", "'|S0'", "'<u1'*10**9"]  # fmt: skip
    shapes = [
        "(12, 8, 8)",
        "()",
        "(0,)",
        "(-1,)",
        "(9223372036854775807,)",
        "(1<<40,)",
        "(4294967296, 4294967296)",
        "(12.0,)",
        "'x'",
        "(None,)",
        "(True,)",
        "(1,)*100",
        "[12]",
        "(768,)",
    ]
    descr, shape = draw.choice(["'|u1'", *types]), draw.choice(["(12, 8, 8)", *shapes])
    order = draw.choice(["False", "True", "0", "'x'", "{}"])
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    header = draw.choice([header, header, header[:-3], b"(" * 5000, header + b" " * 70000, b""])
    version = draw.choice([b"\1\0", b"\2\0", b"\3\0", b"\x09\0"])
    length = struct.pack(
        "<H" if version == b"\1\0" else "<I",
        draw.choice([len(header), len(header), draw.randrange(1 << 16)]) & 0xFFFF,
    )
    return (
        b"\x93NUMPY" + version + length + header + numbers[: draw.choice([len(numbers), len(numbers) // 2])]
    )


def npz(data: bytes, draw: random.Random) -> bytes:
    """An `.npz` with one array's header mutated, or the archive around it."""
    if draw.random() < 0.4:
        return mutate_zip(data, draw)
    records = records_of(data)
    at = draw.randrange(len(records))
    records[at] = (records[at][0], mutate_npy(records[at][1], draw))
    return zipped(records, draw.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))


def words(data: bytes, draw: random.Random, places: list[int], width: int = 4, order: str = "<") -> bytes:
    """One to three words at the given places set to other numbers."""
    raw = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        at = draw.choice(places)
        value = draw.choice([*EXTREMES, draw.randrange(1 << 20), len(data)]) % (1 << (8 * width))
        raw[at : at + width] = value.to_bytes(width, "little" if order == "<" else "big")
    return bytes(raw)


def mat(data: bytes, draw: random.Random) -> bytes:
    """A `.mat`: tags, sizes, dimensions and classes, packed or not."""
    changed = words(data, draw, list(range(124, min(len(data), 330), 4)))
    if draw.random() < 0.4:
        packed = zlib.compress(changed[128:] if draw.random() < 0.8 else bytes(50 << 20))
        changed = (
            changed[:128]
            + struct.pack("<II", 15, draw.choice([len(packed), len(packed), 2**32 - 1]))
            + packed
        )
    return changed[: draw.choice([len(changed), draw.randrange(128, len(changed))])]


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(data: bytes, draw: random.Random) -> bytes:
    """A PNG: its header's fields, and chunks dropped, doubled, moved, added, of other lengths."""
    chunks, place = [], 8
    while place < len(data):
        size = struct.unpack_from(">I", data, place)[0]
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 12 + size
    kind = draw.randrange(6)
    if kind < 2:
        header = bytearray(chunks[0][1])
        at = draw.choice([0, 4, 8, 9, 10, 11, 12])
        header[at : at + (4 if at < 8 else 1)] = draw.choice(
            [
                struct.pack(">I", draw.choice(EXTREMES) % 2**32)[: 4 if at < 8 else 1],
                bytes(4 if at < 8 else 1),
            ]
        )
        chunks[0] = (b"IHDR", bytes(header))
    elif kind == 2:
        chunks.insert(
            1,
            draw.choice(
                [
                    (b"iCCP", b"x\0\0" + zlib.compress(bytes(64 << 20))),
                    (b"zTXt", b"x\0\0" + zlib.compress(bytes(64 << 20))),
                    (b"iTXt", b"x\0\1\0\0\0" + zlib.compress(bytes(64 << 20))),
                    (b"PLTE", bytes(5)),
                    (b"tRNS", bytes(1000)),
                    (b"acTL", struct.pack(">II", 2**31, 0)),
                    (b"fcTL", bytes(26)),
                    (b"eXIf", bytes(9)),
                ]
            ),
        )
    elif kind == 3:
        draw.shuffle(chunks)
    elif kind == 4:
        chunks = [
            (k, draw.choice([d, d[: len(d) // 2], d + d, zlib.compress(bytes(100 << 20))]))
            if k == b"IDAT"
            else (k, d)
            for k, d in chunks
        ]
    else:
        del chunks[draw.randrange(len(chunks))]
    return data[:8] + b"".join(chunk(*item) for item in chunks)


def picture(data: bytes, draw: random.Random) -> bytes:
    """Another format: numbers in its header or directory."""
    if data[:4] in (b"II*\0", b"MM\0*"):
        start = struct.unpack_from("<I", data, 4)[0]
        count = struct.unpack_from("<H", data, start)[0]
        places = [4, start, *(start + 2 + 12 * row + at for row in range(count) for at in (0, 2, 4, 8))]
        return words(data, draw, [place for place in places if place + 4 <= len(data)])
    if data[:2] == b"\xff\xd8":
        places = [i for i in range(len(data) - 8) if data[i] == 0xFF and data[i + 1] not in (0, 0xFF)]
        return words(data, draw, [i + at for i in places for at in (1, 2, 4, 5, 7)], draw.choice([1, 2]), ">")
    if data[:1] == b"P":
        fields = [
            draw.choice([b"8", b"0", b"-1", b"99999999", b"9" * 3000, b"x", b"65535", b"#"]) for _ in range(3)
        ]
        return data[:2] + b"\n" + b" ".join(fields) + b"\n" + data[11:]
    return words(data, draw, list(range(2, min(len(data) - 4, 54), 2)), draw.choice([2, 4]))


def idx(data: bytes, draw: random.Random) -> bytes:
    """LeCun's format: magic, number of dimensions, sizes, length."""
    changed = (
        words(data, draw, [0, 4, 8, 12], 4, ">")
        if draw.random() < 0.6
        else bytes([0, 0, draw.randrange(16), draw.randrange(256)]) + data[4:]
    )
    return changed[: draw.choice([len(changed), draw.randrange(len(changed)), 3])]
