"""Values as bytes: what arguments, results and the stash may hold.

The types are Gunicorn's: None, bool, int of 64 bits, float, bytes, str, list and tuple (which
arrives as a list), dict (whose keys arrive as str). A value is a byte for its type, then, where
the type needs it, a length of four bytes, then the content; numbers are big-endian.

Rules:
- Nothing that is decoded runs code: no classes, no names, no pickle.
- What cannot be sent is refused where it stands, by its place and type, before anything is sent.
- Sizes and depth are bounded on both ways, so that no message makes its reader fail.
"""

import struct
from typing import Any, Final

from monoceros.dirty.errors import DirtyProtocolError

#: Items of one list or dict (Gunicorn's limit).
MAX_ITEMS: Final = 1 << 20

#: Levels of lists and dicts within each other; far above what data has, far below the
#: interpreter's limit of recursion.
MAX_DEPTH: Final = 100

_NONE: Final = 0x00
_BOOL: Final = 0x01
_INT: Final = 0x05
_FLOAT: Final = 0x06
_BYTES: Final = 0x10
_STR: Final = 0x11
_LIST: Final = 0x20
_DICT: Final = 0x21

_TRUE: Final = bytes((_BOOL, 1))
_FALSE: Final = bytes((_BOOL, 0))
_INT_FORMAT: Final = struct.Struct(">Bq")
_FLOAT_FORMAT: Final = struct.Struct(">Bd")
_SIZE_FORMAT: Final = struct.Struct(">BI")
_INT_ALONE: Final = struct.Struct(">q")
_FLOAT_ALONE: Final = struct.Struct(">d")
_SIZE_ALONE: Final = struct.Struct(">I")


def encode(value: Any, place: str = "") -> bytes:
    """The bytes of `value`, which errors call `place`.

    Raises DirtyProtocolError for what cannot be sent.
    """
    parts: list[bytes] = []
    _encode(value, parts, place, 0)
    return b"".join(parts)


def _encode(value: Any, parts: list[bytes], place: str, depth: int) -> None:
    if value is None:
        parts.append(b"\0")
    elif isinstance(value, bool):
        parts.append(_TRUE if value else _FALSE)
    elif isinstance(value, int):
        try:
            parts.append(_INT_FORMAT.pack(_INT, value))
        except struct.error:
            raise _refuse(place, "an int of more than 64 bits") from None
    elif isinstance(value, float):
        parts.append(_FLOAT_FORMAT.pack(_FLOAT, value))
    elif isinstance(value, bytes):
        parts.append(_SIZE_FORMAT.pack(_BYTES, _size(len(value), place)))
        parts.append(value)
    elif isinstance(value, str):
        parts.append(_encode_text(value, place))
    elif isinstance(value, list | tuple):
        _check_nesting(len(value), depth, place)
        parts.append(_SIZE_FORMAT.pack(_LIST, len(value)))
        for index, item in enumerate(value):
            _encode(item, parts, f"{place}[{index}]", depth + 1)
    elif isinstance(value, dict):
        _check_nesting(len(value), depth, place)
        parts.append(_SIZE_FORMAT.pack(_DICT, len(value)))
        for key, item in value.items():
            parts.append(_encode_text(key if isinstance(key, str) else str(key), place))
            _encode(item, parts, f"{place}[{key!r}]", depth + 1)
    else:
        raise _refuse(place, f"{type(value).__module__}.{type(value).__qualname__}")


def _encode_text(text: str, place: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise _refuse(place, "a str that is no Unicode text") from None
    return _SIZE_FORMAT.pack(_STR, _size(len(data), place)) + data


def _size(length: int, place: str) -> int:
    if length > 0xFFFFFFFF:
        raise _refuse(place, f"{length} bytes")
    return length


def _check_nesting(length: int, depth: int, place: str) -> None:
    if length > MAX_ITEMS:
        raise _refuse(place, f"{length} items (at most {MAX_ITEMS})")
    if depth >= MAX_DEPTH:
        raise _refuse(place[:60] + "...", f"more than {MAX_DEPTH} levels")


def _refuse(place: str, what: str) -> DirtyProtocolError:
    where = f" at {place}" if place else ""
    return DirtyProtocolError(
        f"A value cannot be sent{where}: {what}. Values may be None, bool, int of 64 bits, float, "
        "bytes, str, and lists, tuples and dicts of these"
    )


def decode(data: bytes, offset: int = 0) -> tuple[Any, int]:
    """The value that stands at `offset`, and where it ends.

    Raises DirtyProtocolError for bytes that are no value.
    """
    try:
        return _decode(data, offset, 0)
    except (struct.error, IndexError):
        raise DirtyProtocolError("A value is cut off", data[offset:]) from None


def decode_whole(data: bytes) -> Any:
    """The value that `data` is. Raises DirtyProtocolError, for bytes behind it, too."""
    value, end = decode(data)
    if end != len(data):
        raise DirtyProtocolError(f"{len(data) - end} bytes follow a value", data[end:])
    return value


def _decode(data: bytes, offset: int, depth: int) -> tuple[Any, int]:
    kind = data[offset]
    offset += 1
    if kind == _NONE:
        return None, offset
    if kind == _BOOL:
        return data[offset] != 0, offset + 1
    if kind == _INT:
        return _INT_ALONE.unpack_from(data, offset)[0], offset + 8
    if kind == _FLOAT:
        return _FLOAT_ALONE.unpack_from(data, offset)[0], offset + 8
    if kind not in (_BYTES, _STR, _LIST, _DICT):
        raise DirtyProtocolError(f"There is no type 0x{kind:02x}", data[offset - 1 :])
    (size,) = _SIZE_ALONE.unpack_from(data, offset)
    offset += 4
    if kind in (_BYTES, _STR):
        return _decode_run(data, offset, size, text=kind == _STR), offset + size
    if size > MAX_ITEMS or depth >= MAX_DEPTH:
        raise DirtyProtocolError("A list or dict has too many items or levels")
    if kind == _LIST:
        items = []
        for _ in range(size):
            item, offset = _decode(data, offset, depth + 1)
            items.append(item)
        return items, offset
    found: dict[str, Any] = {}
    for _ in range(size):
        key, offset = _decode(data, offset, depth + 1)
        if not isinstance(key, str):
            raise DirtyProtocolError("A key of a dict is no str")
        found[key], offset = _decode(data, offset, depth + 1)
    return found, offset


def _decode_run(data: bytes, offset: int, size: int, *, text: bool) -> bytes | str:
    run = bytes(data[offset : offset + size])
    if len(run) != size:
        raise DirtyProtocolError(f"A value of {size} bytes is cut off after {len(run)}")
    if not text:
        return run
    try:
        return run.decode()
    except UnicodeDecodeError:
        raise DirtyProtocolError("A str is no UTF-8", run) from None
