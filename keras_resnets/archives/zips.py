"""Zip files as PyTorch and Keras write them: members are neither compressed nor encrypted."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from keras_resnets.archives.bounded_file import A_NETWORKS, MOST_TENSORS, File, quote

MAGIC = b"PK\x03\x04"
_LOCAL, _CENTRAL, _END = struct.Struct("<4s5H3I2H"), struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s4H2IH")
_LOCATOR, _END64 = struct.Struct("<4sIQI"), struct.Struct("<4sQ2H2I4Q")
_LONGEST_LIST = 16 << 20
_IN_ZIP64 = 0xFFFFFFFF


@dataclass(frozen=True)
class Member:
    """The position of a member's bytes, and their CRC-32."""

    name: str
    offset: int
    size: int
    crc: int


def list_members(file: File) -> dict[str, Member]:
    """Returns a zip file's members by name; raises if any two overlap."""
    count, size, at = _find_directory(file)
    if size > _LONGEST_LIST or count > MOST_TENSORS:
        file.fail(f"is not a weight file: its zip lists {count:,} members in {size:,} bytes", A_NETWORKS)
    directory = file.read(at, size, "the list of its members")

    members, bounds, place = {}, [], 0
    for _ in range(count):
        member, begin, place = _read_entry(file, directory, place)
        if member.name in members:
            file.fail(f"is damaged: its zip has two members of the name {quote(member.name)}")
        members[member.name] = member
        bounds.append((begin, member.offset + member.size))
    if place != size:
        file.fail("is damaged: the list of its zip's members does not end where it is said to")

    # Gaps are allowed, since zeros after a member align the next; reading the same bytes twice is not.
    end = 0
    for begin, stop in sorted(bounds):
        if begin < end or stop > at:
            file.fail("is damaged: members of its zip overlap")
        end = stop
    return members


def _find_directory(file: File) -> tuple[int, int, int]:
    """Returns the number of members, and the size and the offset of the central directory."""
    tail = min(file.size, _END.size + 0xFFFF)
    last = file.read(file.size - tail, tail, "its end")
    at = last.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > tail:
        file.fail("is cut: its zip has no end")
    _, disk, first_disk, here, count, size, offset, comment = _END.unpack_from(last, at)
    end = at = file.size - tail + at
    if end + _END.size + comment != file.size:
        file.fail("is damaged: its zip does not end where it is said to")

    # Zip64, for large files: a locator in front of the end record, with the offset of another record.
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


def _read_entry(file: File, directory: bytes, place: int) -> tuple[Member, int, int]:
    """Returns a member, the offset of its header, and the place of the next entry in the directory."""
    if place + _CENTRAL.size > len(directory):
        file.fail("is damaged: its zip lists fewer members than it is said to have")
    fields = _CENTRAL.unpack_from(directory, place)
    sign, _, _, flags, method, _, _, crc, packed, size, name_size, extra_size, comment_size, *_, begin = fields
    start = place + _CENTRAL.size
    after = start + name_size + extra_size + comment_size
    if sign != b"PK\x01\x02" or after > len(directory):
        file.fail("is damaged: the list of its zip's members is cut or overwritten")

    name_bytes = directory[start : start + name_size]
    try:
        name = name_bytes.decode()
    except UnicodeDecodeError:
        file.fail("is damaged: its zip has a member whose name is not UTF-8 text")
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/"):
        file.fail(f"is refused: its zip has a member that names a place outside, {quote(name)}", "do not use it")

    if flags & 0x2041:
        file.fail(f"has the member {quote(name)} encrypted", "save it without a password")
    if method:
        file.fail(f"has the member {quote(name)} compressed, as neither torch nor Keras do", "zip it with 'store'")
    extra = directory[start + name_size : start + name_size + extra_size]
    size, packed, begin = _read_zip64(file, extra, name, size, packed, begin)
    if size != packed:
        file.fail(f"is damaged: its zip's member {quote(name)} has two sizes")

    # The header in front of the member must agree with the directory.
    header = _LOCAL.unpack(file.read(begin, _LOCAL.size, f"the header of its zip's member {quote(name)}"))
    behind = begin + _LOCAL.size
    local_name = file.read(behind, header[9], f"the name of its zip's member {quote(name)}")
    if header[0] != MAGIC or local_name != name_bytes or header[3] != method or header[2] & 0x2041:
        file.fail(f"is damaged: its zip's member {quote(name)} is not the one in the list")
    offset = behind + header[9] + header[10]
    file.check_range(offset, size, f"its zip's member {quote(name)}")
    return Member(name, offset, size, crc), begin, after


def _read_zip64(file: File, extra: bytes, name: str, *values: int) -> list[int]:
    """Returns a member's sizes and offset, taken from the zip64 field where 32 bits do not suffice."""
    fields, at = list(values), 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        content = extra[at + 4 : at + 4 + size]
        if kind == 1:
            for number, value in enumerate(fields):
                if value == _IN_ZIP64:
                    if len(content) < 8:
                        file.fail(f"is damaged: the sizes of its zip's member {quote(name)} are cut")
                    fields[number], content = int.from_bytes(content[:8], "little"), content[8:]
            break
        at += 4 + size
    return fields


def verify(file: File, member: Member, target: BinaryIO | None = None) -> None:
    """Raises unless a member matches its checksum; copies it into `target` in the same pass."""
    crc, at, end = 0, member.offset, member.offset + member.size
    while at < end:
        piece = file.read(at, min(end - at, 1 << 20), f"its zip's member {quote(member.name)}")
        crc, at = zlib.crc32(piece, crc), at + len(piece)
        if target is not None:
            target.write(piece)
    if crc != member.crc:
        _fail_checksum(file, member)


def _fail_checksum(file: File, member: Member) -> NoReturn:
    file.fail(f"is damaged: its zip's member {quote(member.name)} does not match its checksum")


def read_member(file: File, member: Member, most: int) -> bytes:
    """Reads a member of at most `most` bytes, and verifies its checksum."""
    content = file.read(member.offset, member.size, f"its zip's member {quote(member.name)}", most)
    if zlib.crc32(content) != member.crc:
        _fail_checksum(file, member)
    return content
