"""PasteDeploy: apps from .ini files, and this server as one that they name.

`--paste site.ini` loads the app of a file; in a file, ``use = egg:monoceros#main`` in a section
``[server:main]`` makes programs such as pserve run this server. The package PasteDeploy is needed
for the former and has been loaded by whoever calls the latter.
"""

import configparser
import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from monoceros.app import WSGIApplication, find_default_config_file
from monoceros.config.files import load_config_file
from monoceros.errors import ConfigError


def load_app(uri: str, variables: Mapping[str, str]) -> Callable[..., Any]:
    """The app that `uri`, a value of the setting `paste`, describes.

    Raises:
        ConfigError: PasteDeploy is missing, or the file is.
    """
    try:
        # By name: the package brings no types, and is not there always.
        deploy = importlib.import_module("paste.deploy")
    except ImportError as error:
        raise ConfigError(
            "paste needs the package PasteDeploy: install monoceros[paste]"
        ) from error
    file = file_of(uri)
    if file is not None and not Path(file).is_file():
        raise ConfigError(f"paste: {file!r} not found")
    full = uri if file is None or ":" in uri else f"config:{uri}"
    app: Callable[..., Any] = deploy.loadapp(
        full, relative_to=str(Path.cwd()), global_conf=dict(variables)
    )
    return app


def file_of(uri: str) -> str | None:
    """The file in `uri`; None for a URI that names none."""
    path = uri.removeprefix("config:").partition("#")[0]
    return None if ":" in path else path


def configures_logging(file: str) -> bool:
    """Whether the file can be read as a `logconfig`, too."""
    parser = configparser.ConfigParser()
    try:
        parser.read(file)
    except configparser.Error:
        return False  # PasteDeploy says what is wrong with it
    return parser.has_section("loggers")


def global_conf(entries: Iterable[str]) -> dict[str, str]:
    r"""Variables from NAME=VALUE; ``\=`` is a ``=`` of the name.

    Raises ConfigError for an entry without a ``=``.
    """
    variables = {}
    for entry in entries:
        parts = re.split(r"(?<!\\)=", entry, maxsplit=1)
        if len(parts) != 2:
            raise ConfigError(f"raw_paste_global_conf: {entry!r} is not NAME=VALUE")
        name, value = (part.replace("\\=", "=").strip() for part in parts)
        variables[name] = value
    return variables


class ServedApplication(WSGIApplication):
    """What a PasteDeploy file makes of this server.

    Args:
        app: the app that the file has loaded.
        file: the PasteDeploy file.
        settings: the rest of the file's server section.
    """

    def __init__(self, app: Callable[..., Any], file: str, settings: Mapping[str, Any]) -> None:
        self._app = app
        self._file = file
        self._settings = dict(settings)
        super().__init__()

    def load_config(self) -> None:
        """The section's settings, over those of a config file; the command line is not ours."""
        settings = dict(self._settings)
        config = settings.pop("config", None)
        host, port = settings.pop("host", None), settings.pop("port", None)
        if host and port:
            settings["bind"] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        elif host:
            settings["bind"] = host.split(",")
        elif port:
            settings["bind"] = f"0.0.0.0:{port}"
        self.cfg.set("default_proc_name", self._file)
        if configures_logging(self._file):
            self.cfg.set("logconfig", self._file)
        self.chdir()
        location = config or find_default_config_file()
        if location:
            load_config_file(self.cfg, location)
        for name, value in settings.items():
            try:
                self.cfg.set(name.lower(), value)
            except AttributeError as error:
                raise ConfigError(f"{self._file}: {error}") from error
        self.chdir()

    def load(self) -> Callable[..., Any]:
        return self._app


def serve(app: Callable[..., Any], global_conf: Mapping[str, str], **settings: Any) -> None:
    """The server runner (entry point paste.server_runner)."""
    ServedApplication(app, global_conf["__file__"], settings).run()
