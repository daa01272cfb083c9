"""Values and frames of dirty apps: what goes in comes out, and nothing else does."""

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monoceros.dirty.errors import DirtyProtocolError
from monoceros.dirty.frames import (
    HEADER_SIZE,
    MAX_PAYLOAD,
    Decoder,
    Frame,
    Kind,
    decode_header,
    encode_frame,
)
from monoceros.dirty.values import MAX_DEPTH, decode, decode_whole, encode

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=50)
    | st.text(max_size=50)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


@given(values)
def test_what_is_encoded_is_decoded(value: Any) -> None:
    data = encode(value)
    assert decode_whole(data) == value
    assert decode(b"before" + data + b"behind", 6) == (value, 6 + len(data))


@given(values, st.data())
def test_every_cut_is_an_error(value: Any, data: st.DataObject) -> None:
    whole = encode(value)
    length = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(DirtyProtocolError):
        decode_whole(whole[:length])
    with pytest.raises(DirtyProtocolError, match="follow"):
        decode_whole(whole + b"\0")


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_fail(data: bytes) -> None:
    with contextlib.suppress(DirtyProtocolError):
        decode(data)


def test_special_values() -> None:
    assert math.isnan(decode_whole(encode(math.nan)))
    assert decode_whole(encode((1, (2,)))) == [1, [2]]
    assert decode_whole(encode({1: 2, None: 3})) == {"1": 2, "None": 3}
    assert decode_whole(encode(True)) is True


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (2**63, "int of more than 64 bits"),
        ({"a": [0, {1}]}, r"at args\['a'\]\[1\]: builtins.set"),
        (["\ud800"], r"at args\[0\]: a str that is no Unicode"),
        (bytearray(b"x"), "builtins.bytearray"),
    ],
)
def test_what_cannot_be_sent_is_named(value: Any, said: str) -> None:
    with pytest.raises(DirtyProtocolError, match=said):
        encode(value, "args")


def test_depth_is_bounded_both_ways() -> None:
    deep: list[Any] = []
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    with pytest.raises(DirtyProtocolError, match="levels"):
        encode(deep)
    with pytest.raises(DirtyProtocolError, match="levels"):
        decode_whole(b"\x20\0\0\0\1" * 100_000)


def test_a_length_is_not_believed() -> None:
    for kind in (0x10, 0x11):
        with pytest.raises(DirtyProtocolError, match="cut off"):
            decode_whole(bytes([kind]) + b"\xff\xff\xff\xff" + b"x")
    with pytest.raises(DirtyProtocolError, match="too many"):
        decode_whole(b"\x20\xff\xff\xff\xff")


@given(
    st.lists(st.tuples(st.sampled_from(Kind), st.integers(0, 2**64 - 1), st.binary(max_size=99))),
    st.integers(1, 40),
)
def test_frames_in_pieces_of_any_size(sent: list[tuple[Kind, int, bytes]], piece: int) -> None:
    stream = b"".join(encode_frame(*each) for each in sent)
    decoder = Decoder()
    found: list[Frame] = []
    for start in range(0, len(stream), piece):
        found += decoder.feed(stream[start : start + piece])
    assert [tuple(frame) for frame in found] == sent


@pytest.mark.parametrize(
    ("change", "said"),
    [((0, b"XX"), "no message"), ((2, b"\2"), "no message"), ((3, b"\xee"), "kind 238"),
     ((4, b"\xff"), "too long")],
)  # fmt: skip
def test_what_is_no_header_is_refused(change: tuple[int, bytes], said: str) -> None:
    header = bytearray(encode_frame(Kind.CALL)[:HEADER_SIZE])
    offset, data = change
    header[offset : offset + len(data)] = data
    with pytest.raises(DirtyProtocolError, match=said):
        decode_header(bytes(header))


def test_a_payload_has_a_limit() -> None:
    with pytest.raises(DirtyProtocolError, match="the limit is"):
        encode_frame(Kind.CALL, 0, bytes(MAX_PAYLOAD + 1))
