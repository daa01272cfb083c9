"""What the logs get of a request that passed its deadline."""

from hypothesis import given
from hypothesis import strategies as st

from monoceros.arbiter.incident import make_environ, parse_head

HEAD = (
    b"POST /report?year=2026 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: curl/8\r\n"
    b"X-A: 1\r\nX-A: 2\r\nContent-Type: text/plain\r\n\r\n"
)


def test_a_whole_head() -> None:
    request = parse_head(HEAD, "10.0.0.1")
    assert (request.method, request.uri) == ("POST", "/report?year=2026")
    assert (request.path, request.query) == ("/report", "year=2026")
    assert request.version == (1, 1)
    assert ("USER-AGENT", "curl/8") in request.headers
    environ = make_environ(request)
    assert environ["HTTP_USER_AGENT"] == "curl/8"
    assert environ["HTTP_X_A"] == "1,2"
    assert environ["CONTENT_TYPE"] == "text/plain"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert environ["REMOTE_ADDR"] == "10.0.0.1"
    assert environ["RAW_URI"] == "/report?year=2026"


@given(st.integers(0, len(HEAD)))
def test_a_truncated_head_gives_what_it_has(length: int) -> None:
    request = parse_head(HEAD[:length], "")
    make_environ(request)
    if length > len("POST /report?year=2026 "):
        assert request.uri == "/report?year=2026"


@given(st.binary())
def test_anything_is_survived(head: bytes) -> None:
    make_environ(parse_head(head, ""))
