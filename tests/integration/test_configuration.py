"""Settings of a running server: where they come from, and which source wins."""

import sys
from pathlib import Path

import pytest

from support.ports import free_port
from support.processes import title
from support.server import Server, is_substitute
from support.serving import Serve
from support.waiting import wait_for


def master_title(server: Server) -> str:
    """The process title of the master, once it has one."""
    return wait_for(
        lambda: next((title(p) for p in server.family() if ": master" in title(p)), ""),
        5.0,
        "the master's title",
    )


@pytest.mark.parametrize(
    ("config", "variable", "flag", "expected"),
    [
        ("", "", "", "probes:app"),
        ("proc_name = 'from-file'\n", "", "", "from-file"),
        ("proc_name = 'from-file'\n", "--name from-env", "", "from-env"),
        ("proc_name = 'from-file'\n", "--name from-env", "from-flag", "from-flag"),
        ("", "--name 'from env'", "", "from env"),
    ],
)
def test_precedence(serve: Serve, config: str, variable: str, flag: str, expected: str) -> None:
    """Command line over environment over config file over default."""
    server = serve(
        "probes:app",
        *(["--name", flag] if flag else []),
        config=config or None,
        env={"MONOCEROS_CMD_ARGS": variable} if variable else None,
    )
    assert f": master [{expected}]" in master_title(server)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["monoceros.conf.py"], "monoceros.conf.py"),
        (["gunicorn.conf.py"], "gunicorn.conf.py"),
        (["monoceros.conf.py", "gunicorn.conf.py"], "monoceros.conf.py"),
    ],
)
def test_config_file_by_name(serve: Serve, files: list[str], expected: str) -> None:
    """The config file of the current directory is found; ours goes before Gunicorn's."""
    server = serve(files={name: f"proc_name = '{name}'\n" for name in files})
    assert f"[{expected}]" in master_title(server)


def test_environment_of_gunicorn_is_read(serve: Serve) -> None:
    """GUNICORN_CMD_ARGS holds where MONOCEROS_CMD_ARGS is absent."""
    server = serve(env={"GUNICORN_CMD_ARGS": "--name theirs --workers 2"}, workers=1, wait=False)
    server.wait_listening()
    server.wait_workers(2)
    assert "[theirs]" in master_title(server)


def test_web_concurrency_and_port(serve: Serve) -> None:
    """PORT binds all addresses, WEB_CONCURRENCY is the number of workers."""
    port = free_port()
    server = serve(
        bind="",
        address=("127.0.0.1", port),
        env={"PORT": str(port), "WEB_CONCURRENCY": "2"},
        wait=False,
    )
    server.wait_listening()
    server.wait_workers(2)
    assert f"0.0.0.0:{port}" in server.log


def test_config_as_module_and_with_prefix(serve: Serve) -> None:
    server = serve(
        "probes:app",
        "-c",
        "python:settings_module",
        files={"settings_module.py": "workers = 2\n"},
        workers=1,
        wait=False,
        env={"PYTHONPATH": _paths(serve)},
    )
    server.wait_listening()
    server.wait_workers(2)
    server = serve("probes:app", "-c", "file:own.py", files={"own.py": "workers = 2\n"}, wait=False)
    server.wait_listening()
    server.wait_workers(2)


def _paths(serve: Serve) -> str:
    from support.server import APPS

    return f"{APPS}:."


def test_app_from_the_config_file(serve: Serve) -> None:
    """`wsgi_app` names the app where the command line does not."""
    server = serve(None, config="wsgi_app = 'probes:app'\n")
    assert server.get().body == b"hello, world\n"


@pytest.mark.parametrize(
    "uri",
    ["own", "own:application", "own:make()", "own:make_with('x', count=2)", "own:holder.app"],
)
def test_app_uris(serve: Serve, uri: str) -> None:
    """A module, a name, a factory, a factory with arguments, an attribute of an attribute."""
    app = """
from probes import app as application

def make():
    return application

def make_with(name, count):
    assert (name, count) == ("x", 2)
    return application

class holder:
    app = staticmethod(application)
"""
    server = serve(uri, files={"own.py": app})
    assert server.get().body == b"hello, world\n"


def test_chdir_pythonpath_and_env(serve: Serve, tmp_path: Path) -> None:
    """`chdir` and `pythonpath` find the app, `raw_env` is its environment."""
    site, library = tmp_path / "site", tmp_path / "library"
    site.mkdir()
    library.mkdir()
    (library / "greeting.py").write_text("import os\nTEXT = os.environ['GREETING'].encode()\n")
    (site / "site_app.py").write_text("""
import os
from greeting import TEXT

def app(environ, start_response):
    body = TEXT + b" from " + os.getcwd().encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
""")
    server = serve(
        "site_app:app",
        "--chdir",
        str(site),
        "--pythonpath",
        str(library),
        "-e",
        "GREETING=hello there",
    )
    assert server.get().text == f"hello there from {site}"


def test_relative_config_is_found_from_where_the_command_was_given(
    serve: Serve, tmp_path: Path
) -> None:
    """Also with --chdir: the -c path belongs to the directory of the start."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    server = serve("probes:app", "--chdir", str(elsewhere), config="proc_name = 'found'\n")
    assert "[found]" in master_title(server)


def test_worker_class_by_path(serve: Serve) -> None:
    """A class of the app's own, given by its dotted path, on top of ours."""
    module = """
from events import note
from {package}.workers.sync import SyncWorker

class OwnWorker(SyncWorker):
    def init_process(self):
        note("own worker")
        super().init_process()
"""
    package = "gunicorn" if is_substitute() else "monoceros"
    server = serve(
        "probes:app",
        "-k",
        "own_worker.OwnWorker",
        files={"own_worker.py": module.format(package=package)},
        env={"PYTHONPATH": _paths(serve)},
    )
    assert server.get().status == 200
    assert len(server.events("own worker")) == 1


def test_pidfile(serve: Serve) -> None:
    """It holds the master's pid and goes with it."""
    server = serve("probes:app", "--pid", "server.pid")
    path = server.directory / "server.pid"
    assert path.read_text() == f"{server.pid}\n"
    server.stop()
    assert not path.exists()


def test_console_script_is_the_module(serve: Serve) -> None:
    """`monoceros` and `python -m monoceros` are the same command."""
    script = Path(sys.executable).parent / "monoceros"
    server = serve("probes:app", program=[str(script)])
    assert server.get().status == 200


def test_umask_and_unix_socket(serve: Serve) -> None:
    """`umask` says who may connect to a unix socket."""
    server = serve("probes:app", "--umask", "0o077", bind="unix:app.sock")
    assert isinstance(server.address, str)
    assert Path(server.address).stat().st_mode & 0o777 == 0o700
