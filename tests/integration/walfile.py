# SPDX-License-Identifier: MIT
"""SQLite's WAL as bytes, for tests that look into one or make one that SQLite would not."""

import struct

HEADER_LEN = 32
FRAME_HEADER_LEN = 24


def page_size_of_wal(wal):
    """What the header says."""
    return struct.unpack(">I", wal[8:12])[0]


def frames(wal):
    """(page number, size at commit, salts) of each frame in the file, dead ones too."""
    step = FRAME_HEADER_LEN + page_size_of_wal(wal)
    found = []
    for at in range(HEADER_LEN, len(wal) - step + 1, step):
        pgno, n_pages, salt1, salt2 = struct.unpack(">IIII", wal[at : at + 16])
        found.append((pgno, n_pages, (salt1, salt2)))
    return found


def published_end(shm):
    """mxFrame in the first copy of a WAL-index header."""
    return struct.unpack("=I", shm[16:20])[0]


def published_backfill(shm):
    """nBackfill in a WAL-index header."""
    return struct.unpack("=I", shm[96:100])[0]


def checksum(data, seed, order):
    """SQLite's WAL checksum, in the byte order '<' or '>'."""
    s0, s1 = seed
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for x0, x1 in zip(words[::2], words[1::2]):
        s0 = (s0 + x0 + s1) & 0xFFFFFFFF
        s1 = (s1 + x1 + s0) & 0xFFFFFFFF
    return s0, s1


def with_big_endian_checksums(wal):
    """The same WAL as a big-endian machine would have written it (live frames only)."""
    step = FRAME_HEADER_LEN + page_size_of_wal(wal)
    head = struct.pack(">I", 0x377F0683) + wal[4:24]
    seed = checksum(head, (0, 0), ">")
    out = bytearray(head + struct.pack(">II", *seed))
    for at in range(HEADER_LEN, len(wal) - step + 1, step):
        frame = wal[at : at + step]
        if frame[8:16] != wal[16:24]:
            break
        seed = checksum(frame[:8], seed, ">")
        seed = checksum(frame[FRAME_HEADER_LEN:], seed, ">")
        out += frame[:16] + struct.pack(">II", *seed) + frame[FRAME_HEADER_LEN:]
    return bytes(out)
