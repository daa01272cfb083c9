"""Which `gunicorn` the server's processes import: ours, though a real one is installed here."""

import json
from pathlib import Path

import pytest

from monoceros import compat
from support.serving import Serve

CONFIG = """
import gunicorn
from events import note
from gunicorn.workers.base import Worker

def on_starting(server):
    note("master", file=gunicorn.__file__)

def post_fork(server, worker):
    note("worker", file=gunicorn.__file__, instance=isinstance(worker, Worker))
"""

APP = """
import importlib.metadata
import json

import gunicorn
from gunicorn.arbiter import Arbiter
from gunicorn.workers.sync import SyncWorker

def app(environ, start_response):
    start_response("200 OK", [])
    found = {
        "file": gunicorn.__file__,
        "version": importlib.metadata.version("gunicorn"),
        "arbiter": Arbiter.__module__,
        "worker": SyncWorker.__module__,
    }
    return [json.dumps(found).encode()]
"""


@pytest.mark.parametrize("options", [[], ["--preload"]], ids=["plain", "preload"])
def test_ours_wins_everywhere(serve: Serve, tmp_path: Path, options: list[str]) -> None:
    """Before the installed one, and before one that `pythonpath` would find."""
    other = tmp_path / "other"
    (other / "gunicorn").mkdir(parents=True)
    (other / "gunicorn" / "__init__.py").write_text("raise RuntimeError('the wrong one')\n")
    server = serve(
        "site_app:app",
        "--pythonpath",
        str(other),
        *options,
        config=CONFIG,
        files={"site_app.py": APP},
    )
    ours = str(Path(compat.FOLDER) / "gunicorn" / "__init__.py")
    found = json.loads(server.get("/").body)
    assert found["file"] == ours
    assert found["version"] == "27.0.1"
    assert found["arbiter"].startswith("monoceros.")
    assert found["worker"].startswith("monoceros.")
    assert [each["file"] for each in server.events("master")] == [ours]
    [worker] = server.events("worker")
    assert (worker["file"], worker["instance"]) == (ours, True)
