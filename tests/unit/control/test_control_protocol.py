"""The control interface without a server: the wire, the table of commands, and how answers look."""

import json
import pwd
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monoceros.control import place
from monoceros.control.commands import TABLE, Argument, Command, CommandError, Verb, understand
from monoceros.control.frames import (
    ANSWER_LIMIT,
    Decoder,
    OversizedError,
    ProtocolError,
    answer,
    decode,
    encode,
    words_of,
)
from monoceros.control.tables import duration, render, table


@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=30), max_size=3), max_size=6),
    st.data(),
)
def test_messages_survive_every_way_of_arriving(messages: list[Any], data: st.DataObject) -> None:
    stream = b"".join(map(encode, messages))
    decoder = Decoder(ANSWER_LIMIT)
    found = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        decoder.feed(stream[:size])
        stream = stream[size:]
        while (message := decoder.take()) is not None:
            found.append(decode(message))
    assert found == messages
    assert decoder.take() is None


def test_a_length_beyond_the_limit_is_refused_at_once() -> None:
    decoder = Decoder(10)
    decoder.feed(struct.pack(">I", 10) + b"0123456789" + struct.pack(">I", 11))
    assert decoder.take() == b"0123456789"
    with pytest.raises(OversizedError, match="a message of 11 bytes: at most 10 are taken"):
        decoder.take()


def test_an_answer_beyond_the_limit_is_not_sent() -> None:
    with pytest.raises(OversizedError):
        answer(1, {"text": "x" * ANSWER_LIMIT})


def test_words_are_split_as_a_shell_does_and_arguments_appended() -> None:
    assert words_of({"command": "worker  'add'", "args": [2]}) == ["worker", "add", "2"]
    assert words_of({}) == []
    with pytest.raises(ProtocolError, match="cannot be split"):
        words_of({"command": '"'})


@pytest.mark.parametrize("verb", Verb)
def test_every_command_is_understood_as_it_is_written(verb: Verb) -> None:
    needs = ["7"] if TABLE[verb].argument is Argument.PID else []
    assert understand([*verb.value.upper().split(), *needs]).verb is verb
    with pytest.raises(CommandError, match="Invalid argument"):
        understand([*verb.value.split(), "7", "8"])


def test_every_command_is_in_the_documentation() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "control.md").read_text()
    for verb, entry in TABLE.items():
        written = f"{verb.value} {entry.argument.value}".strip().replace("|", "\\|")
        assert f"`{written}`" in page


def test_arguments() -> None:
    assert understand(["worker", "add"]) == Command(Verb.WORKER_ADD, number=1)
    assert understand(["worker", "kill", "42"]) == Command(Verb.WORKER_KILL, number=42)
    assert understand(["shutdown", "Quick"]) == Command(Verb.SHUTDOWN, quick=True)
    written = ("worker add 3", "shutdown quick", "shutdown graceful", "reload", "show all")
    assert [str(understand(each.split())) for each in written] == list(written)
    assert [understand(each.split()).only_looks for each in written] == [False] * 4 + [True]


@pytest.mark.parametrize("word", ["0", "-1", "1.5", "1_0", "٣", "", "0x1", "99999999999"])
def test_what_is_no_number(word: str) -> None:
    with pytest.raises(CommandError, match="Invalid argument"):
        understand(["worker", "add", word])


def test_where_the_socket_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": "/home/ann"}
    assert place.default_path(runtime) == f"{tmp_path}/gunicorn.ctl"
    home = "/home/ann/.gunicorn/gunicorn.ctl"
    assert place.default_path({**runtime, "XDG_RUNTIME_DIR": f"{tmp_path}/none"}) == home
    assert place.default_path({"HOME": "/home/ann"}) == home

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert place.default_path({}) is None


def test_tables_are_as_wide_as_what_is_in_them() -> None:
    assert table(("A", "LONG"), [("1234", 5)]).splitlines() == [
        "A     LONG",
        "----------",
        "1234  5",
    ]


def test_a_request_cannot_speak_to_the_terminal() -> None:
    request = {"pid": 1, "thread": 0, "method": "GET", "path": "/\x1b[2J\x9b", "seconds": 1.0}
    drawn = render(["show", "requests"], {"requests": [request], "count": 1})
    assert "/?[2J?" in drawn


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (61, "1m 1s"), (3600, "1h 0m 0s"), (None, "unknown")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("verb", Verb)
def test_answers_of_other_servers_can_be_shown(verb: Verb) -> None:
    """Gunicorn's know less than ours, and a younger one may know more."""
    assert render(verb.value.split(), {"workers_extra": 1})
    assert json.loads(render(["something", "new"], {"a": 1})) == {"a": 1}


def test_a_worker_of_gunicorns() -> None:
    worker = {"pid": 7, "age": 1, "booted": False, "aborted": False, "last_heartbeat": None}
    drawn = render(["show", "workers"], {"workers": [worker], "count": 1})
    assert drawn.splitlines()[2].split()[:5] == ["7", "1", "?", "no", "n/a"]
