"""PasteDeploy files: `--paste`, and this server as the one that such a file names."""

import sys
import textwrap

import pytest

from support.ports import free_port
from support.serving import Serve

APP = """
def factory(global_conf, **local_conf):
    def app(environ, start_response):
        start_response("200 OK", [])
        return [f"{local_conf.get('word')} {global_conf.get('colour')}".encode()]
    return app
"""

INI = """
[app:main]
paste.app_factory = site_app:factory
word = %(colour)s house

[app:other]
paste.app_factory = site_app:factory
word = other

[DEFAULT]
colour = blue
"""

LOGGING = """
[loggers]
keys = root, error

[handlers]
keys = console

[formatters]
keys = plain

[logger_root]
level = INFO
handlers = console

[logger_error]
level = INFO
handlers = console
propagate = 0
qualname = gunicorn.error

[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = plain

[formatter_plain]
format = [2000-01-01 00:00:00 +0000] [1] [%(levelname)s] ini: %(message)s
"""


@pytest.mark.parametrize("flag", ["--paste", "--paster"])
def test_the_app_of_a_file(serve: Serve, flag: str) -> None:
    server = serve(None, flag, "site.ini", files={"site.ini": INI, "site_app.py": APP})
    assert server.get().body == b"blue house blue"
    assert f"[{server.directory / 'site.ini'}]" in " ".join(server.family()[0].cmdline())


def test_one_of_several_with_variables(serve: Serve) -> None:
    files = {"site.ini": INI, "site_app.py": APP}
    server = serve(None, "--paste", "site.ini#other", "--paste-global", "colour=red", files=files)
    assert server.get().body == b"other red"


def test_named_in_a_config_file_and_with_logging(serve: Serve) -> None:
    """The file configures logging, too; its place counts from the start, not from `chdir`."""
    config = "paste = 'site.ini'\nchdir = '.'\nraw_paste_global_conf = ['a\\\\=b = c=d']\n"
    files = {"site.ini": INI + LOGGING, "site_app.py": APP}
    server = serve(None, config=config, files=files)
    assert server.get().body == b"blue house blue"
    assert "ini: Listening at" in server.log


def test_a_file_that_is_not_there(serve: Serve) -> None:
    server = serve(None, "--paste", "nowhere.ini", wait=False)
    server.expect_exit(1)
    server.expect_log(r"Error: paste: '.*/nowhere\.ini' not found")
    assert server.wait_exit() == 1


def test_a_variable_without_a_value(serve: Serve) -> None:
    files = {"site.ini": INI, "site_app.py": APP}
    server = serve(None, "--paste", "site.ini", "--paste-global", "x", files=files, wait=False)
    server.expect_exit(3)
    server.expect_log("raw_paste_global_conf: 'x' is not NAME=VALUE")
    server.allow_log("Reason|Shutting|exited")
    assert server.wait_exit() == 3


def test_as_the_server_of_a_file(serve: Serve) -> None:
    """As pserve does: `use = egg:monoceros#main`, settings in the file, no command line."""
    port = free_port()
    ini = INI + textwrap.dedent(
        f"""
        [server:main]
        use = egg:monoceros#main
        host = 127.0.0.1
        port = {port}
        workers = 2
        config = served.py
        """
    )
    runner = (
        "import os, sys; from paste.deploy import loadapp, loadserver; here = os.getcwd();"
        "loadserver('config:site.ini', relative_to=here)("
        "loadapp('config:site.ini', relative_to=here))"
    )
    server = serve(
        None,
        bind="",
        address=("127.0.0.1", port),
        workers=2,
        files={"site.ini": ini, "site_app.py": APP, "served.py": "proc_name = 'served'\n"},
        program=[sys.executable, "-c", runner],
    )
    assert server.get().body == b"blue house blue"
    assert len(server.workers()) == 2
    assert "[served]" in " ".join(server.family()[0].cmdline())


def test_without_the_package(serve: Serve) -> None:
    files = {"site.ini": INI, "site_app.py": APP}
    config = "import sys\nsys.modules['paste.deploy'] = None\npaste = 'site.ini'\n"
    server = serve(None, config=config, files=files, wait=False)
    server.expect_exit(3)
    server.expect_log(r"paste needs the package PasteDeploy: install monoceros\[paste\]")
    server.allow_log("Reason|Shutting|exited")
    assert server.wait_exit() == 3
