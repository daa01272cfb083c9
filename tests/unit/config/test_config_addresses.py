"""The grammar of `bind`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monoceros.config.addresses import LONGEST_UNIX_PATH, parse_address
from monoceros.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("127.0.0.1", ("127.0.0.1", 8000)),
        ("localhost:0", ("localhost", 0)),
        ("Example.ORG:65535", ("example.org", 65535)),
        (":9000", ("", 9000)),
        ("host:", ("host", 8000)),
        ("", ("0.0.0.0", 8000)),
        (" 127.0.0.1:1 ", ("127.0.0.1", 1)),
        ("[::1]:8000", ("::1", 8000)),
        ("[::1]", ("::1", 8000)),
        ("[FE80::1]:1", ("fe80::1", 1)),
        ("[fe80::1%eth0]:80", ("fe80::1%eth0", 80)),
        ("tcp://127.0.0.1:5", ("127.0.0.1", 5)),
        ("tcp://[::]:5", ("::", 5)),
        ("TCP://h:5", ("h", 5)),
        ("unix:/tmp/a.sock", "/tmp/a.sock"),
        ("unix:///tmp/a.sock", "/tmp/a.sock"),
        ("unix://relative.sock", "relative.sock"),
        ("unix:relative.sock", "relative.sock"),
        ("unix:\0abstract", "\0abstract"),
        ("fd://0", 0),
        ("fd://17", 17),
    ],
)
def test_reads(text: str, address: object) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("127.0.0.1:65536", "between 0 and 65535"),
        ("127.0.0.1:99999999999999999999", "between 0 and 65535"),
        ("127.0.0.1:-1", "no port number"),
        ("127.0.0.1:http", "no port number"),
        ("127.0.0.1:80 80", "no port number"),
        ("127.0.0.1:8_0", "no port number"),
        ("127.0.0.1:٣", "no port number"),
        ("::1", "brackets"),
        ("::1:8000", "brackets"),
        ("a:1,b:2", "brackets"),
        ("a,b", "several addresses go in a list"),
        ("a b:1", "no host name"),
        ("[::1", "[ADDRESS]:PORT"),
        ("[]:80", "[ADDRESS]:PORT"),
        ("[::1]80", "follows the bracket"),
        ("http://127.0.0.1:80", "unknown scheme 'http'"),
        ("unix:", "path is missing"),
        ("unix://", "path is missing"),
        ("unix:/" + "x" * LONGEST_UNIX_PATH, "longer than 107 bytes"),
        ("fd://", "no number of a descriptor"),
        ("fd://x", "no number of a descriptor"),
        ("fd://-1", "no number of a descriptor"),
    ],
)
def test_refuses_with_one_line_that_names_the_address(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(text)
    message = str(caught.value)
    assert message.startswith(f"invalid address {text!r} to bind: ")
    assert reason in message
    assert "\n" not in message


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_config_error(text: str) -> None:
    try:
        address = parse_address(text)
    except ConfigError as error:
        assert "\n" not in str(error)
        return
    match address:
        case (str(), int(port)):
            assert 0 <= port <= 65535
        case int():
            assert address >= 0
        case _:
            assert isinstance(address, str)
            assert address
