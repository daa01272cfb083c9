"""The example site, started to the letter of its Procfile, used as visitors do."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import httpx
import pytest

from support.ports import free_port
from support.server import Server, command, is_substitute
from support.serving import Serve
from support.waiting import wait_for

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "boulder"

#: What the Procfile and `make demo` say, after the name of the server.
LETTER = "--log-config config/logging.cfg --config config/gunicorn.py wsgi:app --preload"


@pytest.fixture
def site(serve: Serve, tmp_path: Path) -> Server:
    """The site from a copy of its folder, on a free port."""
    folder = tmp_path / "boulder"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("instance", "__pycache__"))
    script = Path(sys.executable).parent / "monoceros"
    port = free_port()
    server = serve(
        None,
        *LETTER.split(),
        "-b",
        f"127.0.0.1:{port}",
        bind="",
        address=("127.0.0.1", port),
        cwd=folder,
        program=command() if is_substitute() else [str(script)],
        wait=False,
    )
    server.wait_listening()
    server.wait_answer()
    return server


def test_procfile_is_the_letter() -> None:
    line = (EXAMPLE / "Procfile").read_text().strip()
    assert line.startswith("web: ")
    words = shlex.split(line.removeprefix("web: "))
    assert words[0] == "monoceros"
    assert words[1:] == LETTER.split()


def test_pages_and_static_files(site: Server) -> None:
    with httpx.Client(base_url=site.url("")) as client:
        home = client.get("/")
        assert home.status_code == 200
        assert "text/html" in home.headers["content-type"]
        assert home.headers["server"].startswith("monoceros")
        [style] = set(re.findall(r'href="(/static/[^"?]+)', home.text))
        sheet = client.get(style)
        assert sheet.status_code == 200
        assert "text/css" in sheet.headers["content-type"]
        assert len(sheet.content) == int(sheet.headers["content-length"])
        again = client.get(style, headers={"If-None-Match": sheet.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert client.head("/").headers["content-length"] == home.headers["content-length"]
        for link in set(re.findall(r'href="(/[a-z][^"]*)"', home.text)):
            assert client.get(link).status_code == 200, link
        assert client.get("/nowhere").status_code == 404
    assert site.stderr == "", "nothing below ERROR is logged"


def test_form(site: Server) -> None:
    """A proposal is validated, kept, and seen by every worker."""
    title = "Unicorns on the prairie"
    form = {
        "title": title,
        "speaker": "Ada Example",
        "email": "ada@example.org",
        "level": "Beginner",
        "abstract": "What a horn is for, and how to serve a herd of visitors with it. " * 2,
    }
    with httpx.Client(base_url=site.url(""), follow_redirects=True) as client:
        refused = client.post("/propose", data=form | {"email": "nowhere"})
        assert refused.status_code == 422
        accepted = client.post("/propose", data=form)
        assert accepted.status_code == 200
        assert [step.status_code for step in accepted.history] == [303]
        assert title in accepted.text
    for _ in range(8):
        assert title in httpx.get(site.url("/propose")).text


def test_broken_page_is_a_json_line(site: Server) -> None:
    """The visitor gets a page with 500, the operator one JSON object a line on standard error."""
    site.allow_log("broken on purpose")
    assert httpx.get(site.url("/broken")).status_code == 500
    wait_for(lambda: site.stderr.endswith("\n"), 5.0, "the error on standard error")
    records = [json.loads(line) for line in site.stderr.splitlines()]
    assert len(records) == 1
    assert records[0]["levelname"] == "ERROR"
    assert "broken on purpose" in json.dumps(records[0])
    assert httpx.get(site.url("/")).status_code == 200


def test_workers_of_the_example(site: Server) -> None:
    """Several workers from one mold, as its configuration says."""
    site.wait_workers(3)
    assert len(site.molds()) == (0 if is_substitute() else 1)
    assert site.stop() == 0
    assert site.stderr == ""
