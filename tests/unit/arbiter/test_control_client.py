"""The deadlines of a control client, by a clock of our own."""

import socket
from collections.abc import Iterator

import pytest

from monoceros.arbiter.control_client import IDLE_LIMIT, WRITE_LIMIT, ControlClient, State
from monoceros.control.commands import CommandError
from monoceros.control.frames import encode

#: More than the kernel keeps for a reader.
LARGE = {"text": "x" * 4_000_000}


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, ControlClient]]:
    """The client's own end, and the master's; the clock begins at 0."""
    theirs, ours = socket.socketpair()

    def follow(words: list[str]) -> object:
        if words == ["fail"]:
            raise CommandError("no")
        return LARGE if words == ["large"] else {"words": words}

    with theirs, ours:
        yield theirs, ControlClient(ours, follow, 0.0)


def request(text: str) -> bytes:
    return encode({"id": 1, "command": text})


def test_a_silent_client_is_hung_up_on(ends: tuple[socket.socket, ControlClient]) -> None:
    theirs, client = ends
    client.turn(IDLE_LIMIT - 1)
    assert client.state is State.READING
    theirs.sendall(request("x"))
    client.turn(IDLE_LIMIT - 1)
    assert client.deadline == 2 * IDLE_LIMIT - 1
    client.turn(client.deadline)
    assert client.state is State.ENDED
    assert client.socket.fileno() == -1


def test_half_a_request_is_no_sign_of_life(ends: tuple[socket.socket, ControlClient]) -> None:
    theirs, client = ends
    for number, byte in enumerate(request("x")[:10]):
        theirs.sendall(bytes([byte]))
        client.turn(number * IDLE_LIMIT / 10)
    assert client.state is State.READING
    client.turn(IDLE_LIMIT)
    assert client.state is State.ENDED


def test_who_does_not_read_is_hung_up_on(ends: tuple[socket.socket, ControlClient]) -> None:
    theirs, client = ends
    theirs.sendall(request("large") + request("x"))
    client.turn(1.0)
    assert (client.state, client.writes) == (State.WRITING, True)
    theirs.recv(1_000_000)
    client.turn(WRITE_LIMIT)
    # It has read something, and so gets another while.
    assert client.state is State.WRITING
    assert client.deadline == 2 * WRITE_LIMIT
    client.turn(client.deadline)
    assert client.state is State.ENDED


def test_the_next_request_waits_for_the_answer_before(
    ends: tuple[socket.socket, ControlClient],
) -> None:
    theirs, client = ends
    theirs.sendall(request("large") + request("fail"))
    theirs.setblocking(False)
    received = b""
    for _ in range(10_000):
        client.turn(1.0)
        try:
            received += theirs.recv(1 << 20)
        except BlockingIOError:
            break
    assert received.endswith(encode({"id": 1, "status": "error", "error": "no"}))
    assert received.startswith(encode({"id": 1, "status": "ok", "data": LARGE}))
    assert client.state is State.READING


def test_the_end_of_a_client(ends: tuple[socket.socket, ControlClient]) -> None:
    theirs, client = ends
    theirs.sendall(request("x") * 20)
    theirs.close()
    for _ in range(5):
        if client.state is not State.ENDED:
            client.turn(1.0)
    assert client.state is State.ENDED
