"""The wire corpus against a real server: whole, byte by byte and in random pieces."""

import json
from collections import defaultdict

import pytest

from support.client import DELIVERIES, Connection
from support.serving import Serve
from support.wire import Case, cases


def by_options(kind: str) -> dict[tuple[str, ...], list[Case]]:
    """Cases that one server can take, by its options."""
    groups = defaultdict(list)
    for case in cases(kind):
        # Where a case says nothing of forwarders, its peer is none.
        peers = () if case.is_trusted else ("--forwarded-allow-ips", "192.0.2.1")
        groups[(*case.options, *peers)].append(case)
    return dict(groups)


#: What a server says at its start when a switch lets unusual requests in.
PERMITTED = "^[a-z_]+ is (on|'dangerous'): "

VALID = by_options("valid")
INVALID = by_options("invalid")

#: Seconds for one answer; the app does nothing.
ANSWER_BOUND = 3.0

#: After so many wrong outcomes the rest is not played.
ENOUGH = 12


def test_there_are_cases() -> None:
    assert sum(map(len, VALID.values())) > 30
    assert sum(map(len, INVALID.values())) > 100


def refusal(connection: Connection, case: Case) -> str:
    """What is wrong with how an invalid case was answered; "" when nothing is."""
    response = connection.read_response()
    if response.status != case.status:
        return f"status {response.status} instead of {case.status}"
    if response.get("Connection") != "close":
        return "the answer does not say that the connection closes"
    if b"HTTP/" in response.body or b"Traceback" in response.body:
        return f"the answer says too much: {response.body!r}"
    rest = connection.read_to_close()
    return f"more than one answer: {rest!r}" if rest else ""


@pytest.mark.parametrize("options", INVALID, ids=" ".join)
def test_invalid_is_refused(serve: Serve, options: tuple[str, ...]) -> None:
    """With its status, one answer, `Connection: close` and an end; the worker does not mind."""
    server = serve("mirror:app", *options)
    server.expect_log("Invalid request from ip=127.0.0.1")
    server.allow_log(PERMITTED)
    server.allow_log("messages of this kind were left out")
    workers = server.workers()
    wrong = {}
    with server.assert_no_descriptor_growth():
        for case in INVALID[options]:
            if len(wrong) >= ENOUGH:
                break
            for name, deliver in DELIVERIES.items():
                with server.connect(ANSWER_BOUND) as connection:
                    try:
                        deliver(connection, case.data)
                        if complaint := refusal(connection, case):
                            wrong[case.name, name] = complaint
                    except Exception as error:
                        wrong[case.name, name] = repr(error)
    assert not wrong
    assert server.workers() == workers
    assert server.get().status == 200


def acceptance(connection: Connection, case: Case) -> str:
    """What is wrong with how a valid case was answered; "" when nothing is."""
    if not case.is_complete:
        return "" if connection.is_open() else "an incomplete request was answered or cut"
    method = case.fact("method")
    response = connection.read_response(method)
    if response.status != 200:
        return f"status {response.status}"
    if method == "HEAD":
        return ""
    facts = json.loads(response.body)
    if facts["method"] != method or facts["version"] != case.fact("version"):
        return f"understood as {facts}"
    body = facts["body"].encode("latin-1")
    if "framing none" in case.outcome and body:
        return f"a body from nowhere: {body!r}"
    length = [line.split()[2] for line in case.outcome if line.startswith("framing length ")]
    if length and len(body) != int(length[0]):
        return f"body of {len(body)} instead of {length[0]}"
    if not case.fact("rest") and response.closes != ("connection close" in case.outcome):
        return f"closes: {response.closes}"
    return ""


@pytest.mark.parametrize("options", VALID, ids=" ".join)
def test_valid_is_answered(serve: Serve, options: tuple[str, ...]) -> None:
    """Understood alike however it arrives, and kept open or closed as the client asks."""
    server = serve("mirror:app", *options)
    # What follows some requests is not a request.
    server.allow_log("Invalid request from ip=127.0.0.1|messages of this kind were left out")
    server.allow_log(PERMITTED)
    wrong = {}
    with server.assert_no_descriptor_growth():
        for case in VALID[options]:
            if len(wrong) >= ENOUGH:
                break
            for name, deliver in DELIVERIES.items():
                with server.connect(ANSWER_BOUND) as connection:
                    try:
                        deliver(connection, case.data)
                        if complaint := acceptance(connection, case):
                            wrong[case.name, name] = complaint
                    except Exception as error:
                        wrong[case.name, name] = repr(error)
    assert not wrong
