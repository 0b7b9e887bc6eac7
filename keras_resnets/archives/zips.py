"""Zip files as PyTorch and Keras write them: members that are neither compressed nor encrypted."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from keras_resnets.archives.files import A_NETWORKS, MOST_TENSORS, File, told

MAGIC = b"PK\x03\x04"
_LOCAL, _CENTRAL, _END = struct.Struct("<4s5H3I2H"), struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s4H2IH")
_LOCATOR, _END64 = struct.Struct("<4sIQI"), struct.Struct("<4sQ2H2I4Q")
_LONGEST_LIST = 16 << 20
_FULL = 0xFFFFFFFF


@dataclass(frozen=True)
class Member:
    """Where a member's bytes lie, and their check sum."""

    name: str
    offset: int
    size: int
    crc: int


def members(file: File) -> dict[str, Member]:
    """Returns a zip file's members by name, of which no two share a byte."""
    count, size, at = _directory(file)
    if size > _LONGEST_LIST or count > MOST_TENSORS:
        file.fail(f"is no weight file: its zip lists {count:,} members in {size:,} bytes", A_NETWORKS)
    listed = file.read(at, size, "the list of its members")
    # In this way zeros behind a member, which align the next, are allowed and a second reading of its bytes is not.
    found, bounds, place = {}, [], 0
    for _ in range(count):
        member, begin, place = _member(file, listed, place)
        if member.name in found:
            file.fail(f"is damaged: its zip has two members of the name {told(member.name)}")
        found[member.name] = member
        bounds.append((begin, member.offset + member.size))
    if place != size:
        file.fail("is damaged: the list of its zip's members does not end where it is said to")
    end = 0
    for begin, upto in sorted(bounds):
        if begin < end or upto > at:
            file.fail("is damaged: members of its zip overlap")
        end = upto
    return found


def _directory(file: File) -> tuple[int, int, int]:
    """How many members there are, and the size and the place of their list."""
    tail = min(file.size, _END.size + 0xFFFF)
    last = file.read(file.size - tail, tail, "its end")
    at = last.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > tail:
        file.fail("is cut: its zip has no end")
    _, disk, first_disk, here, count, size, offset, comment = _END.unpack_from(last, at)
    end = at = file.size - tail + at
    if end + _END.size + comment != file.size:
        file.fail("is damaged: its zip does not end where it is said to")
    if end >= _LOCATOR.size + _END64.size:
        sign, _, place, _ = _LOCATOR.unpack(file.read(end - _LOCATOR.size, _LOCATOR.size, "its end"))
        if sign == b"PK\x06\x07":
            fields = _END64.unpack(file.read(place, _END64.size, "the large end of its zip"))
            sign, _, _, _, disk, first_disk, here, count, size, offset = fields
            at = place
            if sign != b"PK\x06\x06" or place + _END64.size + _LOCATOR.size != end:
                file.fail("is damaged: the large end of its zip is not where it is said to be")
    if disk or first_disk or here != count or offset + size != at:
        file.fail("is damaged: its zip lies in parts, or its members are not where they are said to be")
    return count, size, offset


def _member(file: File, listed: bytes, place: int) -> tuple[Member, int, int]:
    """A member, where its header begins, and the place of the next one in the list."""
    if place + _CENTRAL.size > len(listed):
        file.fail("is damaged: its zip lists fewer members than it is said to have")
    fields = _CENTRAL.unpack_from(listed, place)
    sign, _, _, flags, method, _, _, crc, packed, size, name_size, extra_size, comment_size, *_, begin = fields
    start = place + _CENTRAL.size
    after = start + name_size + extra_size + comment_size
    if sign != b"PK\x01\x02" or after > len(listed):
        file.fail("is damaged: the list of its zip's members is cut or overwritten")
    name_bytes = listed[start : start + name_size]
    try:
        name = name_bytes.decode()
    except UnicodeDecodeError:
        file.fail("is damaged: its zip has a member whose name is no text")
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/"):
        file.fail(f"is refused: its zip has a member that names a place outside, {told(name)}", "do not use it")
    if flags & 0x2041:
        file.fail(f"has the member {told(name)} encrypted", "save it without a password")
    if method:
        file.fail(f"has the member {told(name)} compressed, as neither torch nor Keras do", "zip it with 'store'")
    extra = listed[start + name_size : start + name_size + extra_size]
    size, packed, begin = _large(file, extra, name, size, packed, begin)
    if size != packed:
        file.fail(f"is damaged: its zip's member {told(name)} has two sizes")
    header = _LOCAL.unpack(file.read(begin, _LOCAL.size, f"the header of its zip's member {told(name)}"))
    behind = begin + _LOCAL.size
    again = file.read(behind, header[9], f"the name of its zip's member {told(name)}")
    if header[0] != MAGIC or again != name_bytes or header[3] != method or header[2] & 0x2041:
        file.fail(f"is damaged: its zip's member {told(name)} is another one in its place")
    offset = behind + header[9] + header[10]
    file.check(offset, size, f"its zip's member {told(name)}")
    return Member(name, offset, size, crc), begin, after


def _large(file: File, extra: bytes, name: str, *values: int) -> list[int]:
    """The sizes and the place of a member, where 32 bits may not have been enough."""
    found, at = list(values), 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        field = extra[at + 4 : at + 4 + size]
        if kind == 1:
            for number, value in enumerate(found):
                if value == _FULL:
                    if len(field) < 8:
                        file.fail(f"is damaged: the sizes of its zip's member {told(name)} are cut")
                    found[number], field = int.from_bytes(field[:8], "little"), field[8:]
            break
        at += 4 + size
    return found


def verify(file: File, member: Member, target: BinaryIO | None = None) -> None:
    """Refuses a member whose bytes are not those of its check sum; copies it into `target` in passing."""
    crc, at, end = 0, member.offset, member.offset + member.size
    while at < end:
        piece = file.read(at, min(end - at, 1 << 20), f"its zip's member {told(member.name)}")
        crc, at = zlib.crc32(piece, crc), at + len(piece)
        if target is not None:
            target.write(piece)
    if crc != member.crc:
        _fail_sum(file, member)


def _fail_sum(file: File, member: Member) -> NoReturn:
    file.fail(f"is damaged: its zip's member {told(member.name)} is not what its check sum says")


def content(file: File, member: Member, most: int) -> bytes:
    """A member of at most so many bytes, checked."""
    held = file.read(member.offset, member.size, f"its zip's member {told(member.name)}", most)
    if zlib.crc32(held) != member.crc:
        _fail_sum(file, member)
    return held
