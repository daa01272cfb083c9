"""The standard library's validator of PEP 3333 finds nothing, for every method and body."""

import hashlib

import pytest

from support.client import chunked, format_request
from support.serving import WAYS, Serve

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
READERS = ("read", "readline", "readlines", "iterate")
ANSWERS = ("list", "write", "none", "generator")

#: Larger than --body-buffer below, so that it is spooled.
LARGE = b"a line of text\n" * 20_000
BODIES = {"none": None, "empty": b"", "small": b"one\ntwo\n\nthree", "large": LARGE}


def requests(method: str, read: str, answer: str) -> list[tuple[bytes, bytes]]:
    """A request for every shape of body, with the body that the app should see."""
    fields = [("X-Read", read), ("X-Answer", answer)]
    found = []
    for body in BODIES.values():
        found.append((format_request(method, "/", fields, body), body or b""))
        if body is not None:
            pieces = [body[at : at + 7001] for at in range(0, len(body), 7001)]
            head = format_request(method, "/", [*fields, ("Transfer-Encoding", "chunked")])
            found.append((head + chunked(pieces), body))
    return found


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_validator_passes(serve: Serve, way: tuple[str, ...]) -> None:
    server = serve("validated:app", *way, "--body-buffer", "65536")
    server.allow_log("(?i:body)")  # of HEAD
    with server.assert_no_descriptor_growth(), server.connect(20.0) as connection:
        for method in METHODS:
            for number, read in enumerate(READERS):
                answer = ANSWERS[number]
                for request, body in requests(method, read, answer):
                    connection.send(request)
                    response = connection.read_response(method)
                    case = (method, read, answer, len(body))
                    assert response.status == (204 if answer == "none" else 200), case
                    if method != "HEAD" and answer != "none":
                        checksum = hashlib.sha256(body).hexdigest()
                        assert response.text == f"{method} {len(body)} {checksum}", case


def test_validator_passes_with_http10(serve: Serve) -> None:
    server = serve("validated:app")
    for answer in ANSWERS:
        with server.connect() as connection:
            fields = [("X-Answer", answer)]
            response = connection.request("POST", "/", fields, b"body", version="HTTP/1.0")
            assert response.status in (200, 204)
            assert not response.all("Transfer-Encoding")
