"""Some five hundred requests to the same app, under Gunicorn and here: what comes back is the same.

Not the same is only what stands in `DIFFERENCES`, with its reason; and what stands there must be
so. The requests are made in `support/golden.py`, the app is `apps/shapes.py`.
"""

import re
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from support.golden import BROKEN, play, requests
from support.serving import Serve

pytest.importorskip("gunicorn", reason="gunicorn is not installed")

#: How often a request is played before a difference counts.
ATTEMPTS = 3

#: Stands for any value.
ANY = object()

SYNC, GTHREAD = "sync", "gthread"

OPTIONS = {SYNC: ["-k", "sync"], GTHREAD: ["-k", "gthread", "--threads", "2"]}


@dataclass(frozen=True, eq=False)
class Difference:
    """Requests whose names match `cases` differ in `entry`: here it is `ours`, there `theirs`.

    classes: the worker classes with which it shows.
    """

    cases: str
    entry: str
    ours: Any
    theirs: Any
    why: str
    classes: tuple[str, ...] = (SYNC, GTHREAD)

    def covers(self, name: str, entry: str, pair: tuple[Any, Any]) -> bool:
        return (
            entry == self.entry
            and re.fullmatch(self.cases, name) is not None
            and all(
                value is ANY or value == found
                for value, found in zip((self.ours, self.theirs), pair, strict=True)
            )
        )


#: Answers whose body is at hand whole, so that its length is known.
WHOLE = (
    r"shape (one-piece-without-length|pieces-without-length|a-tuple|nothing-without-length|"
    r"one-empty-piece|generated-nothing|wrapped-file-without-length|status 205 Reset Content|"
    r"status 205 Reset Content with a body|status 302 Found Location|starts-anew-after-an-error)"
)

_LENGTH = "the whole body is at hand, so that its length can be told and the connection kept"
_HOP = "a hop-by-hop field is the server's to send: an error in the log, not a field that vanishes"
_TWO_READINGS = "RFC 9112, 3.2: what could be read in two ways is refused"
_VERSION = "RFC 9110, 15.6.6: what is wrong is the version"
_SHORT = "nothing has been sent when it shows, so the client hears of the error"

DIFFERENCES = [
    # Connections.
    Difference(
        ".*", "field Connection", None, ["close"], "sync keeps connections alive here", (SYNC,)
    ),
    Difference(".*", "goes on", True, False, "sync keeps connections alive here", (SYNC,)),
    Difference(
        "connection 1.0-[kK]eep-[aA]live",
        "field Connection",
        ["keep-alive"],
        ["close"],
        "sync keeps connections alive here",
        (SYNC,),
    ),
    Difference(
        ".*",
        "field Connection",
        None,
        ["keep-alive"],
        "RFC 9112, 9.3: it is what HTTP/1.1 means without the field",
        (GTHREAD,),
    ),
    *(
        Difference(
            "connection 1.1-list|shape fields close( HEAD)?",
            entry,
            ours,
            theirs,
            "`close` is understood in a list, and from an app (RFC 9112, 9.6)",
            (GTHREAD,),
        )
        for entry, ours, theirs in (
            ("field Connection", ["close"], ["keep-alive"]),
            ("goes on", False, True),
        )
    ),
    Difference(
        "shape raises-in-the-middle(-with-length)? HEAD",
        "goes on",
        True,
        False,
        "the answer to a HEAD was complete when the app failed",
        (GTHREAD,),
    ),
    # The environ.
    Difference(
        "target http://test.example",
        "environ PATH_INFO",
        ["str", "/"],
        ["str", ""],
        "RFC 9110, 4.2.3: an empty path is the same as /",
    ),
    Difference(
        "fields cookies(-three)?",
        "environ HTTP_COOKIE",
        ANY,
        ANY,
        "RFC 9113, 8.2.3: cookies are joined with '; '; a comma changes their values",
    ),
    Difference(
        "method HEAD",
        "field Content-Length",
        ANY,
        ANY,
        "the app's answer names the server, and so has another length",
    ),
    # What is refused.
    Difference("host a b|refused no-host", "outcome", 400, 200, "RFC 9112, 3.2: a Host is needed"),
    Difference(
        "target http://(other.example|test.example:8000)/a", "outcome", 400, 200, _TWO_READINGS
    ),
    Difference(
        "refused http-(0.9|2.0)", "outcome", 505, 400, "RFC 9110, 15.6.6: it is the version"
    ),
    Difference("refused http-1.2", "outcome", 505, ANY, "RFC 9110, 15.6.6: it is the version"),
    Difference(
        "refused gzip-chunked",
        "outcome",
        501,
        200,
        "RFC 9112, 6.1: a coding that is not undone must not reach the app as if it were the body",
    ),
    Difference(
        "refused unknown-coding",
        "reason",
        "Not Implemented",
        "Bad Request",
        "the reason is that of the status",
    ),
    Difference(
        "forwarded script-name-else",
        "reason",
        "Internal Server Error",
        "Bad Request",
        "the reason is that of the status",
    ),
    # 100 (Continue).
    *(
        Difference(
            "body (expect|Expect) .*|body expect-(chunked|no-body|empty-body)",
            entry,
            [],
            ANY,
            "RFC 9110, 10.1.1: not sent when the body is there already, or is none",
        )
        for entry in ("interim", "interim fields")
    ),
    # Framing.
    *(
        Difference(f"{WHOLE}( HEAD| 1.0)?", entry, ours, theirs, _LENGTH)
        for entry, ours, theirs in (
            ("field Content-Length", ANY, None),
            ("field Transfer-Encoding", None, ["chunked"]),
            ("framing", "length", "chunked"),
            ("framing", "length", "close"),
        )
    ),
    # Heads of apps.
    Difference("shape fields server.*", "field Server", ["mine"], ["gunicorn"], "the app knows"),
    Difference("shape fields date.*", "field Date", ANY, ANY, "the app knows"),
    Difference("shape fields date.*", "field Server", ["monoceros"], ["gunicorn"], "our name"),
    Difference(
        "shape fields hop-(keep-alive|transfer-encoding|te|trailers|proxy).*",
        "outcome",
        500,
        200,
        _HOP,
    ),
    Difference(
        "shape fields hop-upgrade.*",
        "field Upgrade",
        ["h2c"],
        None,
        "RFC 9110, 7.8: any answer may offer an upgrade",
    ),
    Difference(
        "shape fields hop-upgrade.*",
        "field Connection",
        ANY,
        ANY,
        "the same: the field has to be named in Connection",
    ),
    Difference(
        "shape (fields two-lengths|length-negative).*",
        "outcome",
        500,
        ANY,
        "RFC 9112, 6.3: a length that is none would break the next answer",
    ),
    *(
        Difference(
            "shape starts-anew-after-an-error.*",
            entry,
            ANY,
            ANY,
            "PEP 3333: the fields of a head that was not sent are replaced",
        )
        for entry in ("field Content-Type", "field X-First")
    ),
    # Apps that break the protocol.
    Difference("shape never-starts.*", "outcome", 500, BROKEN, _SHORT),
    Difference("shape returns-text.*", "outcome", 500, ANY, _SHORT),
    Difference(
        "shape (shorter-than-said|status 205 Reset Content Content-Length)( 1.0)?",
        "outcome",
        500,
        BROKEN,
        _SHORT,
    ),
]


@pytest.mark.parametrize("worker_class", [SYNC, GTHREAD])
def test_the_same_requests_have_the_same_answers(serve: Serve, worker_class: str) -> None:
    options = OPTIONS[worker_class]
    ours = serve("shapes:app", *options)
    # An answer that is shorter than it says takes Gunicorn as long as this.
    theirs = serve(
        "shapes:app", *options, "--keep-alive", "2", program=[sys.executable, "-m", "gunicorn"]
    )
    for server in (ours, theirs):
        server.allow_log(".")  # apps fail on purpose, and requests are wrong
    expected = [each for each in DIFFERENCES if worker_class in each.classes]
    seen: set[Difference] = set()
    unexpected = []
    for name, request in requests():
        # A busy machine may be slower than Gunicorn keeps a connection: not every time.
        for _ in range(ATTEMPTS):
            difference = play(ours.address, request).difference(play(theirs.address, request))
            reasons = {
                entry: [each for each in expected if each.covers(name, entry, pair)]
                for entry, pair in difference.items()
            }
            if all(reasons.values()):
                break
        seen.update(each for found in reasons.values() for each in found)
        unexpected += [
            f"{name}: {entry}: here {difference[entry][0]}, Gunicorn {difference[entry][1]}"
            for entry, found in reasons.items()
            if not found
        ]
    assert not unexpected, "\n".join(unexpected)
    assert not [f"{each.cases}: {each.entry}" for each in expected if each not in seen]


def test_there_are_enough_requests_and_each_has_a_name() -> None:
    names = [name for name, _ in requests()]
    assert len(names) >= 300
    assert len(set(names)) == len(names)
    assert list(requests()) == list(requests())
