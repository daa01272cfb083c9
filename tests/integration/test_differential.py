"""Generated requests, read by this server and by h11: what h11 refuses is refused here.

What both accept they read alike: method, target, body, and where the message ends. The other way
round does not hold, because h11 follows the advice of RFC 9112 to be lenient. Where this server is
the laxer one, the case stands in `LAXER` with its reason.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import h11
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.client import Closed, Connection
from support.serving import Serve

#: How many requests one run plays; some milliseconds each.
EXAMPLES = 2000

#: Seconds for one answer; the app does nothing.
ANSWER_BOUND = 5.0


@dataclass(frozen=True)
class Laxer:
    """Requests that h11 refuses and this server serves; `mended` makes them such as h11 reads."""

    reason: str
    example: bytes
    mended: Callable[[bytes], bytes]


LAXER = [
    Laxer(
        "RFC 9112, 2.2: a server SHOULD ignore an empty line before the request line",
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        lambda data: data.removeprefix(b"\r\n"),
    ),
]


@dataclass(frozen=True)
class Reading:
    """What a reader makes of the first request in some bytes; `body` None: it never ended."""

    method: str
    target: str
    body: bytes | None


def read_by_h11(data: bytes) -> Reading | None:
    """None when h11 refuses the request, or never saw one."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=65_536)
    method, target, body = "", "", b""
    try:
        connection.receive_data(data)
        connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                method, target = event.method.decode("latin-1"), event.target.decode("latin-1")
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return Reading(method, target, body)
            else:
                return Reading(method, target, None) if method else None
    except h11.RemoteProtocolError:
        return None


def read_by_server(connection: Connection, data: bytes) -> Reading | int:
    """The status of a refusal; 0 when there was no answer, because the request never ended."""
    connection.send(data)
    connection.finish_sending()
    head = data.lstrip(b"\r\n").startswith(b"HEAD ")
    try:
        response = connection.read_response("HEAD" if head else "GET")
    except Closed:
        return 0
    if response.status != 200:
        return response.status
    if head:
        return Reading("HEAD", "", b"")
    facts = json.loads(response.body)
    return Reading(facts["method"], facts["target"], facts["body"].encode("latin-1"))


def disagreement(theirs: Reading | None, ours: Reading | int) -> str:
    """What is wrong with our reading beside h11's; "" when nothing is."""
    if isinstance(ours, int):
        return "" if ours == 0 or ours in (400, 414, 417, 431, 501, 505) else f"status {ours}"
    if theirs is None:
        return "h11 refuses what we accept"
    if theirs.body is None:
        return "h11 waits for more where we see the end"
    if ours.method == "HEAD":
        return "" if theirs.method == "HEAD" else f"h11 sees the method {theirs.method}"
    return "" if ours == theirs else f"h11 sees {theirs}, we see {ours}"


# Requests: well-formed but for what a few mutations do, so that one mistake is what decides.

METHODS = ["GET", "POST", "HEAD", "PUT", "OPTIONS", "PATCH", "BREW", "get", "G", "G(T", ""]
TARGETS = [
    "/",
    "/a?b=c",
    "/%00%zz",
    "//a",
    "*",
    "a:80",
    "http://test.example/x",
    "http://other.example/",
    "/caf\xe9",
    "/a#b",
    "",
    "a",
]
VERSIONS = ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "http/1.1", "HTTP/1.10", ""]
HOSTS = ["", "a b", "a,b", "test.example:80", "test.example:x", "user@test.example", "[::1]"]
LENGTHS = ["0", "3", "5", "04", "+4", "-4", "4,4", "4, 4", "4 4", "0x4", "4_0", "", "9" * 30]
CODINGS = [
    "Chunked",
    "chunked, chunked",
    "gzip, chunked",
    "chunked;a=b",
    "identity",
    "chunked,",
    ",chunked",
    "xchunked",
    "\x0bchunked",
    '"chunked"',
]
EXPECTATIONS = ["100-continue", "100-Continue", "100-continue, else", "else"]
OPTIONS = ["close", "keep-alive", "Content-Length", "x, close", ""]
CHUNKS = [
    "4;a=b\r\nbody\r\n0\r\nX: y\r\n\r\n",
    '4;a="b;c"\r\nbody\r\n0;x\r\n\r\n',
    "2\r\nbo\r\n02\r\ndy\r\n000\r\n\r\n",
    "4\r\nbody0\r\n\r\n",
    "4\r\nbody\r\n0\r\n",
    "4\nbody\n0\n\n",
    "0x4\r\nbody\r\n0\r\n\r\n",
    "4 \r\nbody\r\n0\r\n\r\n",
    "+4\r\nbody\r\n0\r\n\r\n",
    "4;\r\nbody\r\n0\r\n\r\n",
    "5\r\nbody\r\n0\r\n\r\n",
    "3\r\nbody\r\n0\r\n\r\n",
    "10000000000000004\r\nbody\r\n0\r\n\r\n",
    "0\r\nContent-Length: 4\r\n\r\n",
    "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
]
NAMES = ["X-A", "X_A", "", "X A", "X\xe9", "Upgrade", "Content-Type", "TE", "Trailer", "Cookie"]
#: What is put somewhere into the bytes of a request.
ODD = ["\r\n", "\n", "\r", "\0", " ", "\t", "\x0b", "\x7f", "\x80", "\xff", ":", ",", ";", '"', "0"]
#: What stands in the place of a line's end, or of a colon, once in a request.
ENDS = ["\n", "\r", "\r\r\n", "\r\n ", " \r\n", "\r\n\t x\r\n"]
COLONS = [":", " :", "\t: ", "", ":\t", ": \r\n "]


def mostly(usual: str, others: list[str], share: int = 8) -> st.SearchStrategy[str]:
    """`usual`, or one time in `share` one of the others."""
    return st.integers(1, share).flatmap(
        lambda roll: st.sampled_from(others) if roll == share else st.just(usual)
    )


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    framing = draw(st.sampled_from(["none", "length", "chunked", "both"]))
    method = draw(mostly("GET" if framing == "none" else "POST", METHODS))
    target, version = draw(mostly("/", TARGETS)), draw(mostly("HTTP/1.1", VERSIONS))
    fields = [("Host", draw(mostly("test.example", HOSTS)))]
    body = ""
    if framing in ("length", "both"):
        fields.append(("Content-Length", draw(mostly("4", LENGTHS, 3))))
        body = draw(mostly("body", ["", "body and more", "bod"]))
    if framing in ("chunked", "both"):
        fields.append(("Transfer-Encoding", draw(mostly("chunked", CODINGS, 3))))
        body = draw(mostly("4\r\nbody\r\n0\r\n\r\n", CHUNKS, 3))
    extra = st.one_of(
        st.tuples(st.just("Connection"), st.sampled_from(OPTIONS)),
        st.tuples(st.just("Expect"), st.sampled_from(EXPECTATIONS)),
        st.tuples(st.sampled_from(["Host", "Content_Length", "Transfer_Encoding"]), st.just("4")),
        st.tuples(st.sampled_from(NAMES), st.text(st.characters(max_codepoint=255), max_size=4)),
    )
    fields += draw(st.lists(extra, max_size=2))
    start = draw(mostly("", ["\r\n"], 4))
    lines = [f"{start}{method} {target} {version}"]
    odd_colon = draw(st.integers(0, 4 * len(fields)))
    for number, (name, value) in enumerate(draw(st.permutations(fields))):
        colon = draw(st.sampled_from(COLONS)) if number == odd_colon else ": "
        lines.append(f"{name}{colon}{value}")
    odd_end = draw(st.integers(0, 4 * len(lines)))
    text = ""
    for number, line in enumerate([*lines, ""]):
        text += line + (draw(st.sampled_from(ENDS)) if number == odd_end else "\r\n")
    text += body
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(ODD)) + text[at + draw(st.integers(0, 1)) :]
    return text.encode("latin-1")


def test_what_h11_refuses_is_refused_and_the_rest_is_read_alike(serve: Serve) -> None:
    server = serve("mirror:app")
    server.expect_log("Invalid request from ip=127.0.0.1")
    server.allow_log("messages of this kind were left out")
    seen: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        # The same requests in every run: a failure is found again, and no run is slower by chance.
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(requests())
    def play(data: bytes) -> None:
        mended = data
        for laxer in LAXER:
            mended = laxer.mended(mended)
        theirs = read_by_h11(mended)
        with server.connect(ANSWER_BOUND) as connection:
            ours = read_by_server(connection, data)
        seen["ours refused" if isinstance(ours, int) else "ours accepted"] += 1
        seen["h11 refused" if theirs is None else "h11 accepted"] += 1
        seen["with a body"] += isinstance(ours, Reading) and bool(ours.body)
        assert not (wrong := disagreement(theirs, ours)), (wrong, data)

    play()
    # Else the requests would be too wild, or too tame, to tell anything.
    assert min(seen.values()) > EXAMPLES / 20, seen


def test_each_case_in_which_we_are_laxer_exists(serve: Serve) -> None:
    """An entry of LAXER that h11 has come to accept has to go."""
    server = serve("mirror:app")
    for laxer in LAXER:
        assert read_by_h11(laxer.example) is None, laxer.reason
        with server.connect() as connection:
            ours = read_by_server(connection, laxer.example)
        assert ours == read_by_h11(laxer.mended(laxer.example)), laxer.reason
