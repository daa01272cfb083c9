"""The distribution monoceros-gunicorn: a deployment that says `gunicorn` changes nothing.

It is built from its folder and installed into one of its own, as `pip install --target` does.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import monoceros
from support.ports import free_port
from support.server import APPS, Server
from support.serving import Serve

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "boulder"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the distribution installs."""
    # A build leaves files beside its sources, and others may build at the same time.
    sources = tmp_path_factory.mktemp("sources") / "compat"
    shutil.copytree(ROOT / "compat", sources)
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-build-isolation", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*command, str(sources)], check=True, timeout=110)
    return folder


def environment(installed: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(installed), str(APPS)])}


def run(installed: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=os.environ | environment(installed),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_versions_agree() -> None:
    """Both distributions come from one release."""
    project = tomllib.loads((ROOT / "compat" / "pyproject.toml").read_text())["project"]
    assert project["version"] == monoceros.__version__
    assert project["dependencies"] == [f"monoceros>={monoceros.__version__}"]


def test_the_example_to_the_letter(serve: Serve, installed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "boulder"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("instance", "__pycache__"))
    port = free_port()
    letter = "--log-config config/logging.cfg --config config/gunicorn.py wsgi:app --preload"
    server: Server = serve(
        None,
        *letter.split(),
        "-b",
        f"127.0.0.1:{port}",
        bind="",
        address=("127.0.0.1", port),
        cwd=folder,
        env=environment(installed),
        program=[sys.executable, str(installed / "bin" / "gunicorn")],
        wait=False,
    )
    server.wait_listening()
    answer = server.wait_answer()
    assert answer.status == 200
    assert answer.get("Server") == "monoceros"


@pytest.mark.parametrize("module", ["gunicorn", "gunicorn.app.wsgiapp"])
def test_python_m(serve: Serve, installed: Path, module: str) -> None:
    server = serve(
        "probes:app",
        env=environment(installed),
        program=[sys.executable, "-m", module],
    )
    assert server.get("/").get("Server") == "monoceros"


EMBEDDED = """
import multiprocessing
import sys

from gunicorn.app.base import BaseApplication


class StandaloneApplication(BaseApplication):
    def __init__(self, app, options=None):
        self.options = options or {}
        self.application = app
        super().__init__()

    def load_config(self):
        config = {key: value for key, value in self.options.items()
                  if key in self.cfg.settings and value is not None}
        for key, value in config.items():
            self.cfg.set(key.lower(), value)

    def load(self):
        return self.application


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["SERVER_SOFTWARE"].encode()]


if __name__ == "__main__":
    StandaloneApplication(app, {"bind": sys.argv[-1], "workers": 1, "not_a_setting": 1}).run()
"""


def test_an_embedding_script(serve: Serve, installed: Path, tmp_path: Path) -> None:
    """Gunicorn's documented custom application, unchanged."""
    script = tmp_path / "standalone.py"
    script.write_text(EMBEDDED)
    port = free_port()
    server = serve(
        None,
        f"127.0.0.1:{port}",
        bind="",
        address=("127.0.0.1", port),
        env=environment(installed),
        program=[sys.executable, str(script)],
    )
    assert server.get("/").text.startswith("monoceros/")


@pytest.mark.parametrize("trace", ["gunicorn/arbiter.py", "gunicorn-23.0.0.dist-info/METADATA"])
def test_it_refuses_beside_the_real_one(installed: Path, tmp_path: Path, trace: str) -> None:
    both = tmp_path / "both"
    shutil.copytree(installed, both)
    (both / trace).parent.mkdir(exist_ok=True)
    (both / trace).touch()
    command = run(both, sys.executable, str(both / "bin" / "gunicorn"), "probes:app")
    assert command.returncode == 1
    assert command.stderr.startswith("\nError: both monoceros-gunicorn and gunicorn are installed")
    imported = run(both, sys.executable, "-c", "import gunicorn.app.base")
    assert imported.returncode == 1
    assert "ImportError: both monoceros-gunicorn and gunicorn are installed" in imported.stderr


def test_gunicornc_asks_the_server(serve: Serve, installed: Path) -> None:
    server = serve()
    socket = str(server.directory / "gunicorn.ctl")
    command = [sys.executable, str(installed / "bin" / "gunicornc"), "-s", socket, "-c"]
    done = run(installed, *command, "show all")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"ARBITER (master)\n  PID: {server.pid}\n" in done.stdout
    refused = run(installed, *command, "no such thing")
    assert (refused.returncode, refused.stderr) == (1, "Error: Unknown command: no\n")


def test_the_client_can_be_imported(installed: Path, tmp_path: Path) -> None:
    code = "from gunicorn.ctl import ControlClient\n"
    code += "from gunicorn.ctl.cli import main\n"
    code += "from gunicorn.ctl.client import ControlClientError\n"
    code += f"try: ControlClient({str(tmp_path / 'none.ctl')!r}).connect()\n"
    code += "except ControlClientError as error: print(error)\n"
    code += "from gunicorn.ctl import ControlSocketServer\n"
    done = run(installed, sys.executable, "-c", code)
    assert done.stdout.startswith(f"There is no control socket {tmp_path / 'none.ctl'}")
    assert (
        "ImportError: Monoceros has no gunicorn.ctl.ControlSocketServer: the master" in done.stderr
    )


def test_metadata_answers(installed: Path) -> None:
    code = "import gunicorn, importlib.metadata as m\n"
    code += "print(m.version('gunicorn'), gunicorn.__version__)"
    done = run(installed, sys.executable, "-c", code)
    assert done.stdout.split() == ["27.0.1", "27.0.1"], done.stderr
