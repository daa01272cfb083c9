"""`wsgi.file_wrapper`: whole files, parts of them, and things that only look like files."""

import pytest
from responses import CONTENT

from support.client import Truncated
from support.server import Server
from support.serving import Serve
from support.waiting import wait_for

SIZE = len(CONTENT)


@pytest.fixture(params=[True, False], ids=["sendfile", "no-sendfile"])
def server(request: pytest.FixtureRequest, serve: Serve) -> Server:
    return serve("responses:app", *([] if request.param else ["--no-sendfile"]))


def wait_closed(server: Server, count: int) -> None:
    wait_for(lambda: len(server.events("closed")) >= count, 5.0, f"{count} files to be closed")
    assert len(server.events("closed")) == count


@pytest.mark.parametrize("kind", ["file", "memory", "temporary"])
def test_whole_and_parts(server: Server, kind: str) -> None:
    """From where the file stands, up to Content-Length if there is one, else to its end."""
    cases = [
        (0, SIZE),
        (1000, SIZE - 1000),
        (1000, 50),
        (SIZE - 1, 1),
        (SIZE, 0),
        (0, 0),
        (12345, 3_000_000),
    ]
    with server.assert_no_descriptor_growth(), server.connect() as connection:
        for offset, size in cases:
            response = connection.request("GET", f"/file?{offset}/{size}/{kind}")
            assert response.framing == "length"
            assert response.body == CONTENT[offset : offset + size], (offset, size)
        for offset in (0, 777, SIZE):
            response = connection.request("GET", f"/file?{offset}//{kind}")
            assert response.body == CONTENT[offset:], offset
        keep = [("Connection", "keep-alive")]
        response = connection.request("GET", f"/file?5//{kind}", keep, version="HTTP/1.0")
        assert response.body == CONTENT[5:]
    wait_closed(server, len(cases) + 4)


def test_head_sends_nothing_of_it(server: Server) -> None:
    server.allow_log("(?i:body)")
    with server.connect() as connection:
        response = connection.request("HEAD", f"/file?0/{SIZE}/file")
        assert response.get("Content-Length") == str(SIZE)
        assert connection.request("GET", "/hello").body == b"hello"
    wait_closed(server, 1)


def test_inside_a_generator(server: Server) -> None:
    assert server.get("/file-iterated").body == CONTENT


def test_file_shorter_than_its_length(server: Server) -> None:
    """The answer is cut, never filled up."""
    server.expect_log("(?i:content-length|shorter)")
    with pytest.raises(Truncated):
        server.get(f"/file?100/{SIZE}/file")
    assert server.get("/hello").body == b"hello"
    wait_closed(server, 1)


def test_read_that_fails(server: Server) -> None:
    server.expect_log("failing on purpose in read")
    with pytest.raises(Truncated):
        server.get("/file-that-fails")
    wait_closed(server, 1)


def test_client_that_reads_slowly(server: Server) -> None:
    """The file waits for its client and others are answered meanwhile."""
    with server.assert_no_descriptor_growth(), server.connect(receive_buffer=4096) as slow:
        slow.send(f"GET /file?0/{SIZE}/file HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        slow.read_until(b"\r\n\r\n")
        for _ in range(20):
            assert server.get("/hello").body == b"hello"
        assert slow.read_exactly(SIZE) == CONTENT
        slow.close()
    wait_closed(server, 1)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_that_leaves(server: Server, how: str) -> None:
    with server.assert_no_descriptor_growth():
        for _ in range(5):
            connection = server.connect(receive_buffer=4096)
            connection.send(f"GET /file?0/{SIZE}/file HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            connection.read_until(b"\r\n\r\n")
            getattr(connection, how)()
        wait_closed(server, 5)
