# SPDX-License-Identifier: MIT
"""Reads and forges the documents of a backend (docs/format.md): JSON behind a line with its hash."""

import ctypes
import json

_XXHASH = ctypes.CDLL("libxxhash.so.0")
_XXHASH.XXH3_64bits_withSeed.restype = ctypes.c_uint64
_XXHASH.XXH3_64bits_withSeed.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]


def _hash(data, seed):
    return _XXHASH.XXH3_64bits_withSeed(data, len(data), seed)


def read(path):
    """The fields of a document."""
    return json.loads(path.read_bytes().split(b"\n", 1)[1])


def write(path, kind, fields):
    """Puts a whole document in place of path, whatever its fields are."""
    body = json.dumps(fields, indent=1).encode() + b"\n"
    line = f"replitedfs {kind} 1 {len(body):08x} ".encode()
    path.write_bytes(line + f"{_hash(body, _hash(line, 0)):016x}\n".encode() + body)
