"""Real clients and a real framework."""

import hashlib
import json
import subprocess
from pathlib import Path

import httpx
import pytest
import requests

from support.server import Server
from support.serving import Serve
from support.tools import need_tool

LARGE = b"0123456789abcdef" * 200_000

FLASK_APP = """
import hashlib
import time

from flask import Flask, Response, abort, jsonify, request, send_file, session, stream_with_context

app = Flask(__name__)
app.secret_key = "for tests only"


@app.get("/")
def home():
    return "home"


@app.post("/json")
def echo_json():
    return jsonify(got=request.get_json(), length=request.content_length)


@app.post("/upload")
def upload():
    file = request.files["file"]
    data = file.read()
    return jsonify(name=file.filename, size=len(data), sum=hashlib.sha256(data).hexdigest(),
                   note=request.form["note"])


@app.route("/any", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def any_method():
    return jsonify(method=request.method, body=request.get_data(as_text=True))


@app.get("/stream")
def stream():
    @stream_with_context
    def pieces():
        for number in range(5):
            yield f"piece {number} {request.path}\\n"
    return Response(pieces(), mimetype="text/plain")


@app.get("/file")
def file():
    return send_file("large.bin", conditional=True)


@app.get("/count")
def count():
    session["count"] = session.get("count", 0) + 1
    return str(session["count"])


@app.get("/forbidden")
def forbidden():
    abort(403)


@app.get("/broken")
def broken():
    raise RuntimeError("broken on purpose")
"""


@pytest.fixture(params=[[], ["--threads", "4"]], ids=["sync", "threads"])
def flask_site(request: pytest.FixtureRequest, serve: Serve) -> Server:
    server = serve("flask_app:app", *request.param, files={"flask_app.py": FLASK_APP}, wait=False)
    (server.directory / "large.bin").write_bytes(LARGE)
    server.wait_listening()
    server.wait_answer()
    return server


def test_flask(flask_site: Server) -> None:
    """Forms, JSON, uploads, sessions, ranges, streams and errors of a Flask app, by httpx."""
    # A range of a file is sent as a file: that it is longer than the range is no mistake.
    flask_site.expect_log("broken on purpose")
    with httpx.Client(base_url=flask_site.url("")) as client:
        assert client.get("/").text == "home"
        assert client.post("/json", json={"a": [1, 2]}).json()["got"] == {"a": [1, 2]}
        answer = client.post("/upload", data={"note": "n"}, files={"file": ("x.bin", LARGE)}).json()
        assert answer["size"] == len(LARGE)
        assert answer["sum"] == hashlib.sha256(LARGE).hexdigest()
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            body = client.request(method, "/any", content=b"text").json()
            assert body == {"method": method, "body": "text"}
        assert client.get("/stream").text.count("/stream") == 5
        assert [client.get("/count").text for _ in range(3)] == ["1", "2", "3"]
        assert client.get("/forbidden").status_code == 403
        assert client.get("/broken").status_code == 500
        assert client.options("/any").status_code == 200
        assert client.get("/file").content == LARGE
        part = client.get("/file", headers={"Range": "bytes=100-299"})
        assert (part.status_code, part.content) == (206, LARGE[100:300])
        part = client.get("/file", headers={"Range": "bytes=-50"})
        assert (part.status_code, part.content) == (206, LARGE[-50:])
        etag = client.get("/file").headers["etag"]
        assert client.get("/file", headers={"If-None-Match": etag}).status_code == 304
        assert client.head("/file").headers["content-length"] == str(len(LARGE))


def test_requests(flask_site: Server) -> None:
    """The same by requests, with a generator as body (chunked)."""
    url = flask_site.url
    with requests.Session() as session:
        assert session.get(url("/")).text == "home"
        pieces = (b"piece %d\n" % number for number in range(100))
        answer = session.post(url("/any"), data=pieces).json()
        assert answer["body"].count("piece") == 100
        with Path(flask_site.directory / "large.bin").open("rb") as file:
            answer = session.post(url("/upload"), data={"note": "n"}, files={"file": file}).json()
        assert answer["size"] == len(LARGE)
        with session.get(url("/file"), stream=True) as response:
            assert b"".join(response.iter_content(10_000)) == LARGE
        assert session.get(url("/count"), headers={"Connection": "close"}).text == "1"


def test_httpx_many_at_once(serve: Serve) -> None:
    """A pool of kept connections from several threads."""
    from concurrent.futures import ThreadPoolExecutor

    server = serve("probes:app", "--threads", "4", workers=2)
    with httpx.Client(base_url=server.url("")) as client, ThreadPoolExecutor(8) as pool:

        def one(number: int) -> bool:
            return client.post("/echo", content=str(number)).text == str(number)

        assert all(pool.map(one, range(500)))


def curl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    program = need_tool("curl")
    return subprocess.run(
        [program, "--silent", "--show-error", "--max-time", "20", *arguments],
        capture_output=True,
        check=False,
    )


def test_curl(serve: Serve, tmp_path: Path) -> None:
    """Uploads with and without 100-continue, both codings, both versions, a kept connection."""
    server = serve()
    upload = tmp_path / "upload.bin"
    upload.write_bytes(LARGE)
    expected = f"{len(LARGE)} {hashlib.sha256(LARGE).hexdigest()}".encode()
    url = server.url("/digest")
    for extra in (
        [],
        ["-H", "Expect: 100-continue"],
        ["-H", "Expect:"],
        ["-H", "Transfer-Encoding: chunked"],
        ["-X", "PUT"],
        ["--http1.0"],
    ):
        result = curl("--data-binary", f"@{upload}", *extra, url)
        assert (result.returncode, result.stdout) == (0, expected), (extra, result.stderr)
    result = curl("--upload-file", str(upload), url)
    assert result.stdout == expected
    result = curl("-I", server.url("/"))
    assert result.stdout.startswith(b"HTTP/1.1 200 OK\r\n")
    result = curl("-v", server.url("/"), server.url("/pid"), server.url("/"))
    assert result.returncode == 0
    assert result.stderr.lower().count(b"re-using existing") == 2, "the connection was not kept"


def test_curl_sees_a_cut_answer(serve: Serve) -> None:
    """An app that fails in mid-answer: curl reports an error, never success."""
    server = serve()
    server.expect_log("Error handling request /fail-late")
    for target in ("/fail-late", "/fail-late?length=1000"):
        result = curl(server.url(target))
        assert result.returncode != 0, target


def test_curl_over_a_unix_socket(serve: Serve) -> None:
    server = serve(bind="unix:app.sock")
    assert isinstance(server.address, str)
    result = curl("--unix-socket", server.address, "http://named.example/environ")
    environ = json.loads(result.stdout)["environ"]
    assert environ["SERVER_NAME"] == ["str", "named.example"]


def test_wrk(serve: Serve) -> None:
    """A load generator finds no error: neither of sockets nor of status."""
    program = need_tool("wrk")
    server = serve("probes:app", "--threads", "2", workers=2)
    for headers in ([], ["-H", "Connection: close"]):
        result = subprocess.run(
            [program, "-t1", "-c16", "-d2s", *headers, server.url("/")],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        assert "Socket errors" not in result.stdout, result.stdout
        assert "Non-2xx" not in result.stdout, result.stdout
    assert server.get().status == 200
