"""What an app may do to the server's own things holds nobody but itself."""

import socket

import pytest

from support.serving import WAYS, Serve

APP = """
import threading

class Headers:
    def __init__(self):
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __iter__(self):
        self.begun.set()
        self.go_on.wait(0.5)
        yield ("X-Made", "late")

def app(environ, start_response):
    if environ["PATH_INFO"] == "/take":
        environ["gunicorn.socket"].fileno()
    if environ["PATH_INFO"] == "/elsewhere":
        headers = Headers()
        threading.Thread(target=start_response, args=("200 OK", headers)).start()
        headers.begun.wait(5)
        return [b"ok"]
    if environ["PATH_INFO"] == "/write":
        write = start_response("200 OK", [])
        for _ in range(100):
            write(b"x" * 1_000_000)
        return []
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_an_app_that_takes_the_socket_holds_nobody(serve: Serve, way: tuple[str, ...]) -> None:
    """Its client keeps the connection open and says nothing more."""
    server = serve("own:app", *way, files={"own.py": APP})
    with socket.create_connection(server.address, timeout=10) as client:
        client.sendall(b"GET /take HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = b""
        while not answer.endswith(b"\r\n\r\nok"):
            received = client.recv(4096)
            assert received, "an answer that is cut"
            answer += received
        for _ in range(3):
            assert server.get("/").status == 200


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_start_response_on_another_thread_holds_nobody(serve: Serve, way: tuple[str, ...]) -> None:
    """The app returns while that thread is still giving its headers."""
    server = serve("own:app", *way, files={"own.py": APP})
    assert server.get("/elsewhere").status == 200
    assert server.get("/").status == 200


def test_a_client_that_leaves_during_write_is_no_error(serve: Serve) -> None:
    server = serve("own:app", files={"own.py": APP})
    with socket.create_connection(server.address, timeout=10) as client:
        client.sendall(b"GET /write HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(4096)
    assert server.get("/").status == 200
    assert "Error handling request" not in server.log
