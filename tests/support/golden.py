"""Requests that are played to two servers, and what comes back in a form that can be compared.

The requests are the same in every run. Each goes over a connection of its own.
"""

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import shapes

from support.client import (
    Address,
    Closed,
    Connection,
    Malformed,
    Response,
    Truncated,
    chunked,
    format_request,
)

#: Seconds for one answer.
BOUND = 20.0

Fields = Sequence[tuple[str, str]]

CHUNKED = ("Transfer-Encoding", "chunked")

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT", "M-SEARCH"]

TARGETS = [
    *("/", "/a", "/a/", "/a/b/c", "//a", "/a//b", "/./a", "/a/../b", "/a;p=1/b", "/~user/", "/a+b"),
    *("/a%20b", "/%61", "/%2F", "/a%2Fb", "/%00", "/%zz", "/%", "/%e9", "/%C3%A9", "/%F0%9F%98%80"),
    *("/?", "/?a", "/?a=1", "/?a=1&a=2", "/?a=%20+b", "/?a=/b?c", "/?a=1#f", "/#f", "/a#f?q"),
    *("/?%C3%A9=%E9", "/?a[]=1", "/a?b=c;d", "/" + "x" * 2000, "/?" + "q" * 3000, "/a|b", "/a^b"),
    *("/a'b", "/a{b}", "/$&+,:=@", "/.well-known/x", "/a%0d%0ab", "/index.php?x=1"),
    "http://test.example/",
    "http://test.example/a?b=1",
    "http://test.example",
    "http://other.example/a",
    "http://test.example:8000/a",
    "https://test.example/a",
]

#: Fields of a GET, by name of the case.
FIELDS: dict[str, Fields] = {
    "none": [],
    "one": [("X-One", "1")],
    "repeated": [("X-Tag", "one"), ("X-Tag", "two"), ("x-tag", "three")],
    "empty": [("X-Empty", "")],
    "only-spaces": [("X-Empty", "   ")],
    "spaces": [("X-Spaces", "  in the  middle \t ")],
    "tab": [("X-Tab", "a\tb")],
    "latin-1": [("X-Name", "caf\xe9")],
    "utf-8": [("X-Name", "caf\xc3\xa9")],
    "underscore": [("X_Dropped", "1"), ("X-Kept", "2")],
    "underscore-twin": [("X_Twin", "1"), ("X-Twin", "2")],
    "digits": [("X-1", "1"), ("2", "2")],
    "odd-token": [("X!#$%&'*+.^`|~", "1")],
    "long": [("X-Long", "x" * 8000)],
    "many": [(f"X-{number}", str(number)) for number in range(90)],
    "case": [("cOnTeNt-TyPe", "text/plain"), ("uSeR-aGeNt", "x")],
    "type-without-body": [("Content-Type", "application/json")],
    "length-zero": [("Content-Length", "0")],
    "cookie": [("Cookie", "a=1; b=2")],
    "cookie-odd": [("Cookie", 'a="x y"; b; =c;; d=1,2')],
    "cookies": [("Cookie", "a=1"), ("Cookie", "b=2")],
    "cookies-three": [("Cookie", "a=1"), ("X-Between", "x"), ("Cookie", "b=2"), ("cookie", "c=3")],
    "authorization": [("Authorization", "Basic dGVzdDp0ZXN0")],
    "accept": [("Accept", "*/*"), ("Accept-Encoding", "gzip, br"), ("Accept-Language", "en")],
    "accept-repeated": [("Accept", "text/html"), ("Accept", "text/plain")],
    "conditions": [("If-None-Match", '"x"'), ("If-Modified-Since", "x"), ("Range", "bytes=0-1")],
    "host-repeated-in-x": [("X-Host", "a"), ("X-Original-Host", "b")],
    "te": [("TE", "trailers")],
    "trailer": [("Trailer", "X-Sum")],
    "upgrade-h2c": [("Upgrade", "h2c"), ("Connection", "Upgrade")],
    "upgrade-websocket": [("Upgrade", "websocket"), ("Connection", "Upgrade")],
    "priority": [("Priority", "u=1"), ("Early-Data", "1")],
    "proxy": [("Proxy", "http://evil.example/")],
    "via": [("Via", "1.1 a"), ("Via", "1.0 b")],
    "max-forwards": [("Max-Forwards", "1"), ("From", "a@b"), ("Pragma", "no-cache")],
}

FORWARDED: dict[str, Fields] = {
    "for": [("X-Forwarded-For", "203.0.113.7")],
    "for-many": [("X-Forwarded-For", "203.0.113.7, 10.0.0.1"), ("X-Forwarded-For", "10.0.0.2")],
    "host": [("X-Forwarded-Host", "shop.example"), ("X-Forwarded-Port", "8443")],
    "server": [("X-Forwarded-Server", "a"), ("X-Forwarded-Prefix", "/p")],
    "real-ip": [("X-Real-IP", "203.0.113.7")],
    "standard": [("Forwarded", "for=203.0.113.7;proto=https;host=a")],
    "proto-https": [("X-Forwarded-Proto", "https")],
    "proto-http": [("X-Forwarded-Proto", "http")],
    "proto-upper": [("X-Forwarded-Proto", "HTTPS")],
    "proto-list": [("X-Forwarded-Proto", "https, http")],
    "proto-empty": [("X-Forwarded-Proto", "")],
    "proto-odd": [("X-Forwarded-Proto", "wss")],
    "protocol": [("X-Forwarded-Protocol", "ssl")],
    "protocol-odd": [("X-Forwarded-Protocol", "https")],
    "ssl-on": [("X-Forwarded-Ssl", "on")],
    "ssl-off": [("X-Forwarded-Ssl", "off")],
    "agreeing": [("X-Forwarded-Proto", "https"), ("X-Forwarded-Ssl", "on")],
    "contradicting": [("X-Forwarded-Proto", "https"), ("X-Forwarded-Ssl", "off")],
    "contradicting-twice": [("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "http")],
    "script-name": [("SCRIPT_NAME", "/a")],
    "script-name-empty": [("SCRIPT_NAME", "")],
    "script-name-else": [("SCRIPT_NAME", "/other")],
    "path-info": [("PATH_INFO", "/x")],
    "remote-user": [("REMOTE_USER", "root"), ("REMOTE-USER", "x")],
}

HOSTS = ["test.example", "test.example:8080", "TEST.Example", "[::1]:80", "127.0.0.1", "", "a b"]

CONNECTIONS: dict[str, tuple[str, Fields]] = {
    "1.1": ("HTTP/1.1", []),
    "1.1-close": ("HTTP/1.1", [("Connection", "close")]),
    "1.1-Close": ("HTTP/1.1", [("Connection", "Close")]),
    "1.1-keep-alive": ("HTTP/1.1", [("Connection", "keep-alive")]),
    "1.1-list": ("HTTP/1.1", [("Connection", "x, close")]),
    "1.1-other": ("HTTP/1.1", [("Connection", "x")]),
    "1.0": ("HTTP/1.0", []),
    "1.0-close": ("HTTP/1.0", [("Connection", "close")]),
    "1.0-keep-alive": ("HTTP/1.0", [("Connection", "keep-alive")]),
    "1.0-Keep-Alive": ("HTTP/1.0", [("Connection", "Keep-Alive")]),
}

_POST = b"POST / HTTP/1.1\r\nHost: a\r\n"

#: Requests of which a server should make nothing; bytes.
REFUSED: dict[str, bytes] = {
    "no-version": b"GET /\r\n\r\n",
    "http-0.9": b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
    "http-1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "http-2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "lower-version": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "lower-method": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "short-method": b"GE / HTTP/1.1\r\nHost: a\r\n\r\n",
    "long-method": b"ABCDEFGHIJKLMNOPQRSTU / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no-token-method": b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no-slash": b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "authority": b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "space-in-target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "control-in-target": b"GET /a\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "high-in-target": b"GET /caf\xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "two-empty-lines": b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "bare-lf": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare-lf-in-fields": b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
    "no-colon": b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
    "space-before-colon": b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
    "no-name": b"GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n",
    "name-no-token": b"GET / HTTP/1.1\r\nHost: a\r\nX(: y\r\n\r\n",
    "control-in-value": b"GET / HTTP/1.1\r\nHost: a\r\nX: y\x01\r\n\r\n",
    "nul-in-value": b"GET / HTTP/1.1\r\nHost: a\r\nX: y\0\r\n\r\n",
    "two-hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "no-host": b"GET / HTTP/1.1\r\n\r\n",
    "long-line": b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "long-field": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
    "many-fields": b"GET / HTTP/1.1\r\nHost: a\r\n"
    + b"".join(b"X-%d: 1\r\n" % number for number in range(120))
    + b"\r\n",
    "two-lengths": _POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "same-lengths": _POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    "length-text": _POST + b"Content-Length: x\r\n\r\n",
    "length-plus": _POST + b"Content-Length: +2\r\n\r\nab",
    "length-and-chunked": _POST + b"Content-Length: 2\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": _POST + b"Transfer-Encoding: identity\r\n\r\n",
    "chunked-twice": _POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked-1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown-coding": _POST + b"Transfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n",
    "gzip-chunked": _POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "bad-chunk-size": _POST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n\r\n",
    "bad-chunk-end": _POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
    "expectation": _POST + b"Expect: else\r\nContent-Length: 2\r\n\r\nab",
    "garbage": b"\x00\x01\x02\x03\r\n\r\n",
}


def bodies() -> Iterator[tuple[str, bytes]]:
    """Requests with bodies: framed by length and in chunks, of several sizes."""
    dice = random.Random(27)
    for size in (0, 1, 100, 5000, 100_000):
        body = dice.randbytes(size)
        yield f"length {size}", format_request("POST", "/", [("Content-Type", "a/b")], body)
        for pieces in (1, 3, 10):
            step = max(1, -(-size // pieces))
            parts = [body[at : at + step] for at in range(0, size, step)]
            coded = chunked(parts)
            yield f"chunks {size}/{pieces}", format_request("POST", "/", [CHUNKED]) + coded
    text = b"a=1&b=%C3%A9"
    form = [("Content-Type", "application/x-www-form-urlencoded")]
    yield "form", format_request("POST", "/", form, text)
    yield "get", format_request("GET", "/", [], b"odd but allowed")
    yield "delete", format_request("DELETE", "/", [], b"x")
    yield "http-1.0", format_request("POST", "/", [], b"body", "HTTP/1.0")
    yield "leading-zeros", _POST + b"Content-Length: 0004\r\n\r\nbody"
    head = format_request("POST", "/", [CHUNKED])
    yield "extension", head + b"4;a=b\r\nbody\r\n0\r\n\r\n"
    yield "quoted-extension", head + b'4;a="b"\r\nbody\r\n0\r\n\r\n'
    yield "upper-size", head + b"A\r\n0123456789\r\n0\r\n\r\n"
    yield "zeros-in-size", head + b"0004\r\nbody\r\n000\r\n\r\n"
    yield "trailers", head + chunked([b"body"], "X-Sum: 1\r\nX-More: 2\r\n")
    yield (
        "coding-case",
        format_request("POST", "/", [("Transfer-Encoding", "Chunked")]) + chunked([b"body"]),
    )
    yield "type-without-parameters", format_request("PUT", "/", [("Content-Type", "")], b"x")
    for name, value in (("expect", "100-continue"), ("Expect", "100-Continue")):
        yield f"{name} {value}", format_request("POST", "/", [(name, value)], b"the body")
    yield (
        "expect-chunked",
        format_request("POST", "/", [("Expect", "100-continue"), CHUNKED]) + chunked([b"the body"]),
    )
    yield "expect-no-body", format_request("GET", "/", [("Expect", "100-continue")])
    yield "expect-1.0", format_request("POST", "/", [("Expect", "100-continue")], b"x", "HTTP/1.0")
    yield "expect-empty-body", format_request("POST", "/", [("Expect", "100-continue")], b"")


LINES = b"first line\nsecond\n\nlast without an end"


def requests() -> Iterator[tuple[str, bytes]]:
    """All of them, by name; the first word of a name is the group."""
    for method in METHODS:
        yield f"method {method}", format_request(method, "/a?b=1")
    yield "method HEAD", format_request("HEAD", "/a?b=1")
    yield "method OPTIONS *", format_request("OPTIONS", "*")
    for target in TARGETS:
        yield f"target {target[:40]}", format_request("GET", target)
    for name, fields in FIELDS.items():
        yield f"fields {name}", format_request("GET", "/a", fields)
    for name, fields in FORWARDED.items():
        yield f"forwarded {name}", format_request("GET", "/a/b", fields)
    for host in HOSTS:
        yield f"host {host}", format_request("GET", "/", host=host)
    yield "host none-1.0", format_request("GET", "/", version="HTTP/1.0", host=None)
    for name, (version, fields) in CONNECTIONS.items():
        yield f"connection {name}", format_request("GET", "/", fields, version=version)
    for name, request in bodies():
        yield f"body {name}", request
    for name in shapes.names():
        shape = [("X-Shape", name)]
        if name.startswith("reads"):
            yield f"shape {name}", format_request("POST", "/", shape, LINES)
            yield (
                f"shape {name} chunks",
                format_request("POST", "/", [*shape, CHUNKED])
                + chunked([LINES[:7], LINES[7:12], LINES[12:]]),
            )
            continue
        yield f"shape {name}", format_request("GET", "/", shape)
        yield f"shape {name} HEAD", format_request("HEAD", "/", shape)
        yield f"shape {name} 1.0", format_request("GET", "/", shape, version="HTTP/1.0")
    for name, request in REFUSED.items():
        yield f"refused {name}", request


#: Entries of an environ that name the server or a socket.
PARTICULAR = ("SERVER_SOFTWARE", "SERVER_PORT", "REMOTE_PORT")

#: Fields of an answer that name the server or the moment.
PARTICULAR_FIELDS = ("Server", "Date")

PRESENT = "present"

#: Stands for a status where an answer was cut, could not be read, or did not come.
BROKEN = "broken"

#: Stands for an error's page: each server has a text of its own.
OWN_PAGE = "a page of the server's own"


@dataclass
class Result:
    """What came of a request, entry by entry."""

    entries: dict[str, Any]

    @property
    def outcome(self) -> Any:
        """The status, or BROKEN."""
        return self.entries["outcome"]

    def difference(self, other: "Result") -> dict[str, tuple[Any, Any]]:
        """Entry -> (ours, the other's), where they differ; None stands for an absent one.

        Where the outcomes differ, that is the difference.
        """
        if self.outcome != other.outcome:
            return {"outcome": (self.outcome, other.outcome)}
        keys = self.entries.keys() | other.entries.keys()
        both = {key: (self.entries.get(key), other.entries.get(key)) for key in keys}
        return {key: pair for key, pair in sorted(both.items()) if pair[0] != pair[1]}


def play(address: Address, request: bytes) -> Result:
    """Send a request and take down the answer, and whether the connection goes on after it."""
    found = re.search(rb"\r\nX-Shape: ([^\r]*)", request)
    shape = found[1] if found else b""
    method = "HEAD" if request.startswith(b"HEAD ") else "GET"
    with Connection(address, BOUND) as connection:
        connection.send(request)
        try:
            response = connection.read_response(method)
        except (Closed, Truncated, Malformed, AssertionError):
            # Which of them it is depends on what a reset overtakes; AssertionError: two lengths.
            return Result({"outcome": BROKEN})
        entries: dict[str, Any] = {
            "outcome": response.status,
            "version": response.version,
            "reason": response.reason,
            "framing": response.framing,
            "interim": [each.status for each in response.interim],
            "interim fields": [each.fields for each in response.interim],
            "trailers": response.trailers,
            "body": response.body.decode("latin-1"),
        }
        for name, _ in response.fields:
            known = name in PARTICULAR_FIELDS and shape not in (b"fields server", b"fields date")
            entries[f"field {name}"] = PRESENT if known else response.all(name)
        if response.all("Content-Type") == ["application/json"] and response.body:
            entries |= {f"environ {key}": value for key, value in environ_of(response.body)}
            # Both follow from names of the server in the environ.
            del entries["body"], entries["field Content-Length"]
        elif is_own_page(response):
            entries = {key: value for key, value in entries.items() if key[:5] != "field"}
            entries["body"] = OWN_PAGE
        entries["goes on"] = goes_on(connection, response.closes)
        return Result(entries)


def is_own_page(response: Response) -> bool:
    """Whether an error was written by the server; no app here gives these types."""
    types = (["text/html"], ["text/plain; charset=utf-8"])
    return response.status >= 400 and response.all("Content-Type") in types


def environ_of(body: bytes) -> Iterator[tuple[str, Any]]:
    facts = json.loads(body)
    for key, (kind, value) in facts["environ"].items():
        if key in PARTICULAR:
            yield key, kind
        else:
            yield key, PRESENT if value is None else [kind, value]
    yield "the body", facts["body"]


def goes_on(connection: Connection, closes: bool) -> bool:
    """Whether a second request is answered; False also when the server has said that it closes."""
    if closes:
        connection.wait_closed(BOUND)
        return False
    connection.send(format_request("GET", "/", [("X-Shape", "one-piece")]))
    try:
        return connection.read_response().body == b"hello"
    except (Closed, Truncated):
        return False
