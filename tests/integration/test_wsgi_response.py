"""What becomes of an app's answer: start_response, bodies, lengths, mistakes."""

import contextlib

import pytest
from responses import WRONG

from support.client import Truncated
from support.server import Server
from support.serving import WAYS, Serve
from support.waiting import wait_for

ERROR = r"Error handling request"

#: Said of an app that gives a body where none is sent.
HEAD_WITH_BODY = "(?i:body)"


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def server(request: pytest.FixtureRequest, serve: Serve) -> Server:
    return serve("responses:app", *request.param)


GOOD = {
    "/hello": (200, b"hello"),
    "/replaced": (503, b"replaced"),
    "/started-while-iterated": (201, b"first second"),
    "/empty-pieces-first": (503, b"replaced"),
    "/write": (200, b"written twice and returned"),
    "/write-only": (200, b"written"),
    "/returns-tuple": (200, b"a tuple"),
    "/subclassed-list": (200, b"one two"),
    "/many-empty": (200, b"ab"),
    "/own-status": (299, b"x"),
}


def test_good_answers(server: Server) -> None:
    """Each on a kept connection, by HTTP/1.1, HEAD and HTTP/1.0, in step all the time."""
    server.allow_log(HEAD_WITH_BODY)
    keep = [("Connection", "keep-alive")]
    found = {}
    for path in GOOD:
        with server.connect() as connection:
            response = connection.request("GET", path)
            head = connection.request("HEAD", path)
            old = connection.request("GET", path, keep, version="HTTP/1.0")
            found[path] = (response.status, response.body)
            assert head.status == response.status, path
            assert (old.status, old.body) == found[path], path
            assert not old.all("Transfer-Encoding"), path
    assert found == GOOD


def test_replaced_head_has_nothing_of_the_first(server: Server) -> None:
    response = server.get("/replaced")
    assert response.get("X-First") is None
    assert response.get("X-Second") == "2"


def test_head_and_length(server: Server) -> None:
    """HEAD has the fields of GET, Content-Length included, and no body."""
    server.allow_log(HEAD_WITH_BODY)
    with server.connect() as connection:
        for path in ("/hello", "/repeated", "/own-server-and-date"):
            got = connection.request("GET", path)
            head = connection.request("HEAD", path)
            ignored = {"Date"} if path != "/own-server-and-date" else set()
            assert [f for f in head.fields if f[0] not in ignored] == [
                f for f in got.fields if f[0] not in ignored
            ]


def test_fields_of_one_name_stay_apart_and_in_order(server: Server) -> None:
    fields = server.get("/repeated").fields
    own = [(name, value) for name, value in fields if name in ("Set-Cookie", "X-Other")]
    assert own == [("Set-Cookie", "a=1"), ("X-Other", "x"), ("Set-Cookie", "b=2")]


def test_server_and_date(server: Server) -> None:
    """Both are there once; what the app says wins."""
    response = server.get("/hello")
    assert (response.get("Server") or "").startswith("monoceros")
    assert (response.get("Date") or "").endswith(" GMT")
    response = server.get("/own-server-and-date")
    assert response.get("Server") == "mine"
    assert response.get("Date") == "Thu, 01 Jan 1970 00:00:00 GMT"


def test_reason_is_kept(server: Server) -> None:
    assert server.get("/reason-with-spaces").reason == "All is well"


def test_app_may_close_the_connection(server: Server) -> None:
    with server.connect() as connection:
        response = connection.request("GET", "/asks-close")
        assert response.body == b"bye"
        assert response.get("Connection") == "close"
        connection.wait_closed(2.0)


@pytest.mark.parametrize("path", ["/twice", "/never-started", "/returns-none"])
def test_broken_protocol_is_500(server: Server, path: str) -> None:
    """The client gets a 500, the log says where; the worker goes on."""
    server.expect_log(ERROR)
    workers = server.workers()
    for _ in range(2):
        assert server.get(path).status == 500
    assert server.get("/hello").body == b"hello"
    assert server.workers() == workers
    assert any(path in record.text for record in server.records("ERROR"))


def test_wrong_head_is_500(server: Server) -> None:
    """Never sent, never silently dropped: 500 to the client, an error in the log for each."""
    server.expect_log(ERROR)
    found = {}
    for name in WRONG:
        before = len(server.records("ERROR"))
        response = server.get(f"/wrong?{name}")
        clean = not (
            response.all("X-Injected") or response.all("X-Name") or b"hello" in response.body
        )
        logged = wait_for(
            lambda n=before: len(server.records("ERROR")) - n, 5.0, f"a line for {name}"
        )
        found[name] = (response.status, clean, logged)
    assert found == dict.fromkeys(WRONG, (500, True, 1))
    assert server.get("/hello").body == b"hello"


@pytest.mark.parametrize("path", ["/yields-text", "/returns-bytes"])
def test_wrong_body_is_never_a_whole_answer(server: Server, path: str) -> None:
    """A body of the wrong type: 500 where nothing was sent, else an answer that is cut."""
    server.expect_log(ERROR)
    with contextlib.suppress(Truncated):
        assert server.get(path).status == 500
    assert server.get("/hello").body == b"hello"


def test_memoryview_is_not_bytes(server: Server) -> None:
    """PEP 3333 wants bytes; another buffer is refused or sent right, never garbled."""
    server.allow_log(ERROR)
    try:
        response = server.get("/memoryview-piece")
        assert response.status == 500 or response.body == b"a view"
    except Truncated:
        pass


@pytest.mark.parametrize("path", ["/too-late", "/write-then-fail"])
def test_failure_after_the_head_cuts_the_answer(server: Server, path: str) -> None:
    """No final chunk: the client sees that the answer is not whole."""
    server.expect_log(ERROR)
    with server.assert_no_descriptor_growth():
        with pytest.raises(Truncated) as cut:
            server.get(path)
        assert b"never" not in cut.value.received
    assert server.get("/hello").body == b"hello"


@pytest.mark.parametrize("path", ["/short", "/short-stream"])
def test_body_shorter_than_its_length_is_cut(server: Server, path: str) -> None:
    """500 where nothing was sent, else an end before the missing bytes; the log says so."""
    server.expect_log("(?i:content-length|shorter)")
    keep = [("Connection", "keep-alive")]
    for version in ("HTTP/1.1", "HTTP/1.0"):
        with server.connect() as connection, contextlib.suppress(Truncated):
            assert connection.request("GET", path, keep, version=version).status == 500
    assert server.get("/hello").body == b"hello"


@pytest.mark.parametrize("path", ["/long", "/long-stream"])
def test_body_longer_than_its_length_stays_within(server: Server, path: str) -> None:
    """What is beyond Content-Length never reaches the wire, where it would be the next answer."""
    server.expect_log("(?i:content-length|longer)")
    with server.connect() as connection:
        response = connection.request("GET", path)
        assert response.status == 500 or response.body == b"long"
        if not response.closes:
            assert connection.request("GET", "/hello").body == b"hello"
        else:
            connection.wait_closed(3.0)
    assert server.get("/hello").body == b"hello"


@pytest.mark.parametrize("status", ["204+No+Content", "304+Not+Modified"])
def test_bodiless_statuses(server: Server, status: str) -> None:
    """The body is left out, with one warning, and the connection stays in step."""
    server.expect_log("(?i:body)")
    with server.connect() as connection:
        for method in ("GET", "HEAD", "GET"):
            response = connection.request(method, f"/bodiless?{status}")
            assert response.status == int(status[:3])
            assert not response.all("Transfer-Encoding")
            if status.startswith("204"):
                assert response.get("Content-Length") is None
        assert connection.request("GET", "/hello").body == b"hello"


def test_lengths_of_bodiless_statuses(server: Server) -> None:
    """Kept for 304, where it speaks of the representation; left out of a 204 (RFC 9110, 8.6)."""
    with server.connect() as connection:
        response = connection.request("GET", "/bodiless-with-length?304+Not+Modified")
        assert response.get("Content-Length") == "5"
        response = connection.request("GET", "/bodiless-with-length?204+No+Content")
        assert response.get("Content-Length") is None
        assert connection.request("GET", "/hello").body == b"hello"


def test_interim_status_is_no_final_answer(server: Server) -> None:
    """An app that answers 1xx has not answered: 500, and the connection stays in step or closes."""
    server.allow_log(f"{ERROR}|(?i:body|1xx|informational)")
    with server.connect() as connection:
        response = connection.request("GET", "/bodiless?103+Early+Hints")
        assert response.status == 500
    assert server.get("/hello").body == b"hello"


def test_framing_by_version(server: Server) -> None:
    """Without a length: chunked for HTTP/1.1, delimited by the end for HTTP/1.0."""
    with server.connect() as connection:
        path = "/started-while-iterated"
        assert connection.request("GET", path).framing == "chunked"
        keep = [("Connection", "keep-alive")]
        response = connection.request("GET", path, keep, version="HTTP/1.0")
        assert response.framing == "close"
        assert response.body == b"first second"


def test_a_list_of_one_piece_has_a_length(server: Server) -> None:
    """The server knows the length of a list and says it, as PEP 3333 allows for one piece."""
    with server.connect() as connection:
        response = connection.request("GET", "/returns-tuple")
        assert response.body == b"a tuple"
        assert connection.request("GET", "/hello").framing == "length"


def test_failure_before_the_head(serve: Serve) -> None:
    """500, the traceback and the request in the log once, nothing of it to the client."""
    server = serve()
    server.expect_log(r"Error handling request /fail\b.*Traceback.*failing on purpose")
    response = server.get("/fail")
    assert response.status == 500
    assert b"purpose" not in response.body and b"Traceback" not in response.body
    assert server.log.count("RuntimeError: failing on purpose before the head") == 1
    assert server.get().body == b"hello, world\n"


@pytest.mark.parametrize("target", ["/fail-late", "/fail-late?length=1000"])
def test_failure_while_iterating(serve: Serve, target: str) -> None:
    server = serve()
    server.expect_log(r"Error handling request /fail-late.*failing on purpose after the head")
    with pytest.raises(Truncated) as cut:
        server.get(target)
    assert b"0\r\n\r\n" not in cut.value.received


LATE_FAILURES = """
def app(environ, start_response):
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
    if path == "/fine":
        start_response("200 OK", [("Content-Length", "4")])
        return [b"fine"]
    status = "204 No Content" if path == "/none" else "200 OK"
    write = start_response(status, [] if path == "/none" else [("Content-Length", "5")])
    if path != "/generated":
        write(b"whole")
        raise RuntimeError("failing on purpose when all is sent")
    return generated()

def generated():
    yield b"wh"
    yield b"ole"
    raise RuntimeError("failing on purpose when all is sent")
"""


@pytest.mark.parametrize("target", ["/generated", "/written", "/none"])
def test_a_failure_after_the_whole_answer_costs_no_request(serve: Serve, target: str) -> None:
    """The client has all that it was told to expect, and may use the connection as it was told."""
    server = serve("own:app", files={"own.py": LATE_FAILURES}, probe="/fine")
    server.expect_log("failing on purpose when all is sent")
    with server.connect() as connection:
        for _ in range(20):
            response = connection.request("GET", target)
            assert response.body == (b"" if target == "/none" else b"whole")
            assert not response.closes
            assert connection.request("GET", "/fine").body == b"fine"
