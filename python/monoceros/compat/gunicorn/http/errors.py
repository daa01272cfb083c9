"""`gunicorn.http.errors`: what can be wrong with a request.

The engine refuses such requests by itself, so none of these is raised here. They are for code that
names them in an ``except`` clause, or raises them in a parser of its own.
"""

from typing import Any


class ParseException(Exception):
    """Base of all that is wrong with a request."""


class NoMoreData(OSError):
    def __init__(self, buf: Any = None) -> None:
        self.buf = buf

    def __str__(self) -> str:
        return f"No more data after: {self.buf!r}"


class ConfigurationProblem(ParseException):
    def __init__(self, info: Any) -> None:
        self.info = info
        self.code = 500

    def __str__(self) -> str:
        return f"Configuration problem: {self.info}"


class InvalidRequestLine(ParseException):
    def __init__(self, req: Any) -> None:
        self.req = req
        self.code = 400

    def __str__(self) -> str:
        return f"Invalid HTTP request line: {self.req!r}"


class InvalidRequestMethod(ParseException):
    def __init__(self, method: Any) -> None:
        self.method = method

    def __str__(self) -> str:
        return f"Invalid HTTP method: {self.method!r}"


class InvalidHTTPVersion(ParseException):
    def __init__(self, version: Any) -> None:
        self.version = version

    def __str__(self) -> str:
        return f"Invalid HTTP Version: {self.version!r}"


class ExpectationFailed(ParseException):
    def __init__(self, expect: Any) -> None:
        self.expect = expect

    def __str__(self) -> str:
        return f"Unable to comply with expectation: {self.expect!r}"


class InvalidHeader(ParseException):
    def __init__(self, hdr: Any, req: Any = None) -> None:
        self.hdr = hdr
        self.req = req
        self.code = 400

    def __str__(self) -> str:
        return f"Invalid HTTP Header: {self.hdr!r}"


class InvalidHeaderName(ParseException):
    def __init__(self, hdr: Any) -> None:
        self.hdr = hdr

    def __str__(self) -> str:
        return f"Invalid HTTP header name: {self.hdr!r}"


class ObsoleteFolding(ParseException):
    def __init__(self, hdr: Any) -> None:
        self.hdr = hdr

    def __str__(self) -> str:
        return f"Obsolete line folding is unacceptable: {self.hdr!r}"


class InvalidResponseHeader(InvalidHeader):
    def __str__(self) -> str:
        return f"Invalid response header from the application: {self.hdr}"


class InvalidResponseHeaderName(InvalidHeaderName):
    def __str__(self) -> str:
        return f"Invalid response header name from the application: {self.hdr}"


class UnsupportedTransferCoding(ParseException):
    def __init__(self, hdr: Any) -> None:
        self.hdr = hdr
        self.code = 501

    def __str__(self) -> str:
        return f"Unsupported transfer coding: {self.hdr!r}"


class InvalidChunkSize(ParseException):
    def __init__(self, data: Any) -> None:
        self.data = data

    def __str__(self) -> str:
        return f"Invalid chunk size: {self.data!r}"


class InvalidChunkExtension(ParseException):
    def __init__(self, reason: Any) -> None:
        self.reason = reason
        self.code = 400

    def __str__(self) -> str:
        return f"Invalid chunk extension: {self.reason}"


class ChunkMissingTerminator(ParseException):
    def __init__(self, term: Any) -> None:
        self.term = term

    def __str__(self) -> str:
        return f"Invalid chunk terminator: {self.term!r}"


class LimitRequestLine(ParseException):
    def __init__(self, size: Any, max_size: Any = None) -> None:
        self.size = size
        self.max_size = max_size

    def __str__(self) -> str:
        return f"Request Line is too large ({self.size} > {self.max_size})"


class LimitRequestHeaders(ParseException):
    def __init__(self, msg: Any) -> None:
        self.msg = msg

    def __str__(self) -> str:
        return f"{self.msg}"


class InvalidProxyLine(ParseException):
    def __init__(self, line: Any) -> None:
        self.line = line
        self.code = 400

    def __str__(self) -> str:
        return f"Invalid PROXY line: {self.line!r}"


class InvalidProxyHeader(ParseException):
    def __init__(self, msg: Any) -> None:
        self.msg = msg
        self.code = 400

    def __str__(self) -> str:
        return f"Invalid PROXY header: {self.msg}"


class ForbiddenProxyRequest(ParseException):
    def __init__(self, host: Any) -> None:
        self.host = host
        self.code = 400

    def __str__(self) -> str:
        return f"Proxy request from {self.host!r} not allowed"


class InvalidSchemeHeaders(ParseException):
    def __str__(self) -> str:
        return "Contradictory scheme headers"


class InvalidH2CPreface(ParseException):
    def __init__(self, data: Any) -> None:
        self.data = data

    def __str__(self) -> str:
        return f"Expected HTTP/2 connection preface, got {self.data!r}"
