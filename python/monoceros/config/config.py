"""The configuration: every setting's value, and what follows from several of them.

`cfg.NAME` reads a setting or a derived property; `cfg.set(NAME, value)` is the only way to
change one. Sources are read by the application (`monoceros.app`); this class knows none of them.
"""

import argparse
import importlib.util
import inspect
import logging
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

from monoceros.config import settings as table  # fills KNOWN_SETTINGS
from monoceros.config.addresses import Address, parse_address
from monoceros.config.classes import (
    WORKER_ALIASES,
    is_sync,
    load_logger_class,
    load_worker_class,
    logger_with_metrics,
)
from monoceros.config.not_yet import NOT_YET, Fate
from monoceros.config.parser import build_parser
from monoceros.config.setting import KNOWN_SETTINGS, Setting, Surroundings
from monoceros.config.validators import TLS_1_3, tls_floor, validate_folder
from monoceros.errors import ConfigError
from monoceros.privileges import Identity

__all__ = ["Config", "make_settings", "table"]

#: Settings that `ssl_options` holds (Gunicorn's contract).
_SSL_OPTIONS = (
    "keyfile",
    "certfile",
    "ssl_version",
    "cert_reqs",
    "ca_certs",
    "suppress_ragged_eofs",
    "do_handshake_on_connect",
    "ciphers",
)

#: Words of the environment variable SENDFILE that switch it on.
_SENDFILE_WORDS = ("y", "1", "yes", "true")


def make_settings(surroundings: Surroundings | None = None) -> dict[str, Setting]:
    """A fresh instance of every known setting, by name."""
    surroundings = surroundings or Surroundings.current()
    return {known.name: known(surroundings) for known in KNOWN_SETTINGS}


class Config:
    """A server's configuration.

    usage, prog: of the command line's parser. environ, directory: what defaults are taken from
    instead of this process's environment and current folder.

    Raises ConfigError when an environment variable that sets a default holds nonsense.
    """

    settings: dict[str, Setting]

    def __init__(
        self,
        usage: str | None = None,
        prog: str | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        directory: str | None = None,
    ) -> None:
        current = Surroundings.current()
        surroundings = Surroundings(
            current.environ if environ is None else dict(environ), directory or current.directory
        )
        self.settings = make_settings(surroundings)
        #: Names of the settings that somebody has set, be it to the default.
        self.given: set[str] = set()
        self.usage = usage
        self.prog = prog
        #: The environment that the server was started with, before `raw_env`.
        self.env_orig = dict(surroundings.environ)

    def __getattr__(self, name: str) -> Any:
        # Only called for what is no attribute. Copying and unpickling ask before __init__ ran.
        settings: dict[str, Setting] = self.__dict__.get("settings", {})
        if name in settings:
            return settings[name].get()
        if name in NOT_YET:
            return NOT_YET[name].default
        raise AttributeError(f"no setting is called {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "settings" and name in self.__dict__.get("settings", {}):
            raise AttributeError("Invalid access!")
        super().__setattr__(name, value)

    def set(self, name: str, value: Any) -> None:
        """Set a setting.

        Raises AttributeError for an unknown name, TypeError or ValueError for a value that the
        setting cannot have, and ConfigError for a value that the system does not allow. A setting
        of Gunicorn's that this release has not got is refused with ConfigError where ignoring it
        would be unsafe, and else warned about.
        """
        if name in self.settings:
            self.settings[name].set(value)
            self.given.add(name)
        elif name in NOT_YET:
            self._set_not_yet(name, value)
        else:
            raise AttributeError(f"no setting is called {name!r}")

    def _set_not_yet(self, name: str, value: Any) -> None:
        entry = NOT_YET[name]
        if entry.asks_for_nothing(value):
            return
        if entry.fate is Fate.REFUSED:
            raise ConfigError(entry.message())
        self.warn(entry.message())

    def warn(self, message: str) -> None:
        """Tell the operator, in one line, of something in the configuration.

        Before logging is set up the line goes to standard error; on a reload to the error log.
        """
        logging.getLogger("gunicorn.error").warning("%s", message)

    def parser(self) -> argparse.ArgumentParser:
        """The parser of the command line; flags that are not given are None."""
        return build_parser(self.settings.values(), self.usage, self.prog, self.warn)

    def validate(self) -> None:
        """Check what no single setting can: addresses, that the classes can be loaded, and that
        workers can become who they shall be.

        Raises ConfigError.
        """
        if not self.address:
            raise ConfigError("there is no address to bind: set `bind`")
        self._validate_tls()
        self._validate_reload()
        self._validate_folders()
        self._validate_interface(self.worker_class)
        _ = self.logger_class
        self.identity.check()

    def _validate_tls(self) -> None:
        certfile, keyfile = self.settings["certfile"].get(), self.settings["keyfile"].get()
        if keyfile and not certfile:
            raise ConfigError(f"keyfile is set to {keyfile!r}, but certfile is not: set both")
        cert_reqs, ca_certs = self.settings["cert_reqs"].get(), self.settings["ca_certs"].get()
        if not certfile:
            for name in ("sni_certs", "ca_certs", "cert_reqs"):
                if self.settings[name].get():
                    raise ConfigError(f"{name} is set, but there is no TLS: set certfile, too")
        elif cert_reqs and not ca_certs:
            raise ConfigError(
                f"cert_reqs = {cert_reqs} asks clients for certificates, but nothing says who "
                "signs them: set ca_certs"
            )

    def _validate_interface(self, worker_class: type[Any]) -> None:
        wanted = self.settings["interface"].get()
        served = getattr(worker_class, "interface", None)
        if wanted != "auto" and served is not None and served != wanted:
            raise ConfigError(
                f"interface is {wanted!r}, and worker_class {self.worker_class_str!r} serves "
                f"{served.upper()} apps: set one of them only"
            )

    def _validate_reload(self) -> None:
        asked = self.settings["reload"].get() and self.settings["reload_engine"].get()
        if asked == "inotify" and importlib.util.find_spec("watchfiles") is None:
            raise ConfigError(
                "reload_engine = inotify needs the package watchfiles: install "
                "monoceros[reload], or set it to poll"
            )

    def _validate_folders(self) -> None:
        folder = self.settings["worker_tmp_dir"].get()
        if folder and not Path(folder).is_dir():
            raise ConfigError(f"worker_tmp_dir: {folder} doesn't exist. Can't create workertmp.")
        uploads = self.settings["tmp_upload_dir"].get()
        if uploads and self.spool_folder is None:
            # Gunicorn does not look at it, so a deployment may name anything.
            self.warn(
                f"tmp_upload_dir: {uploads!r} is no folder that files can be made in; large bodies "
                "go to the system's folder for temporary files"
            )

    def __str__(self) -> str:
        width = max(map(len, self.settings))
        return "\n".join(
            f"{name:<{width}} = {_show(setting.value)}"
            for name, setting in sorted(self.settings.items())
        )

    # What follows from the settings.

    @property
    def worker_class_str(self) -> str:
        """The worker class's name for people: an alias, or the dotted path."""
        uri = self._worker_uri
        if self.settings["threads"].get() > 1 and is_sync(uri):
            return "gthread"
        if inspect.isclass(uri):
            return str(uri.__name__)
        return str(uri)

    @property
    def worker_class(self) -> type[Any]:
        """The worker class, loaded. Raises ConfigError."""
        uri = self._worker_uri
        if self.settings["threads"].get() > 1 and is_sync(uri):
            uri = WORKER_ALIASES["gthread"]
        found = load_worker_class(uri)
        setup = getattr(found, "setup", None)
        if callable(setup):
            setup()
        return found

    @property
    def _worker_uri(self) -> Any:
        if "worker_class" not in self.given and self.settings["interface"].get() == "asgi":
            return "asgi"
        return self.settings["worker_class"].get()

    @property
    def app_decides(self) -> bool:
        """Whether the app, once it is loaded, decides between WSGI and ASGI: nobody has set a
        worker class or an interface."""
        return "worker_class" not in self.given and self.settings["interface"].get() == "auto"

    @property
    def logger_class(self) -> type[Any]:
        """The logger class, loaded. Raises ConfigError."""
        uri = self.settings["logger_class"].get()
        if self.settings["statsd_host"].get() is not None:
            uri = logger_with_metrics(uri)
        found = load_logger_class(uri)
        install = getattr(found, "install", None)
        if callable(install):
            install()
        return found

    @property
    def address(self) -> list[Address]:
        """The addresses to listen on: (host, port), path of a unix socket, or descriptor.

        Raises ConfigError.
        """
        bind = self.settings["bind"]
        try:
            return [parse_address(text) for text in bind.get()]
        except ConfigError as error:
            port = self.env_orig.get("PORT", "").strip()
            if port and bind.is_default:
                raise ConfigError(f"{error} (from the environment variable PORT)") from error
            raise

    @property
    def proc_name(self) -> str:
        named = self.settings["proc_name"].get()
        return str(named or self.settings["default_proc_name"].get())

    @property
    def env(self) -> dict[str, str]:
        """The environment variables that `raw_env` sets."""
        pairs = (item.partition("=") for item in self.settings["raw_env"].get())
        return {name: value for name, _, value in pairs}

    @property
    def sendfile(self) -> bool:
        """Whether files go out by sendfile(): the setting, else SENDFILE, else yes."""
        chosen = self.settings["sendfile"].get()
        if chosen is not None:
            return bool(chosen)
        word = self.env_orig.get("SENDFILE", "").strip().lower()
        return word in _SENDFILE_WORDS if word else True

    @property
    def paste_global_conf(self) -> dict[str, str]:
        """The variables for a PasteDeploy file."""
        from monoceros.paste_deploy import global_conf

        return global_conf(self.settings["raw_paste_global_conf"].get())

    @property
    def spool_folder(self) -> str | None:
        """Where request bodies go that do not fit in memory: `spool_dir`, else `tmp_upload_dir`,
        else the system's folder for temporary files."""
        spool_dir: str | None = self.settings["spool_dir"].get()
        if spool_dir:
            return spool_dir
        try:
            return validate_folder(self.settings["tmp_upload_dir"].get())
        except ConfigError:
            return None

    def forwarded_allow_networks(self) -> list[IPv4Network | IPv6Network]:
        """`forwarded_allow_ips` without ``*``."""
        return _networks(self.settings["forwarded_allow_ips"].get())

    def proxy_allow_networks(self) -> list[IPv4Network | IPv6Network]:
        """`proxy_allow_ips` without ``*``."""
        return _networks(self.settings["proxy_allow_ips"].get())

    @property
    def identity(self) -> Identity:
        """Whom the workers run as."""
        asked = (self.settings[name].get() for name in ("user", "group", "initgroups"))
        return Identity.resolve(*asked)

    @property
    def user(self) -> int:
        """The id of the workers' user."""
        return self.identity.uid

    @property
    def group(self) -> int:
        """The id of the workers' group."""
        return self.identity.gid

    uid, gid = user, group

    @property
    def is_ssl(self) -> bool:
        """Whether connections are encrypted."""
        return bool(self.settings["certfile"].get() or self.settings["keyfile"].get())

    @property
    def only_tls13(self) -> bool:
        """Whether TLS 1.2 is refused."""
        return tls_floor(self.settings["ssl_version"].get()) == TLS_1_3

    @property
    def ssl_options(self) -> dict[str, Any]:
        """What worker classes that bring a TLS of their own ask for, by Gunicorn's names."""
        options = {name: self.settings[name].get() for name in _SSL_OPTIONS}
        password = self.settings["keyfile_password"].get()
        return options | {"password": password.reveal() if password else None}


def _networks(items: Iterable[str]) -> list[IPv4Network | IPv6Network]:
    return [ip_network(item) for item in items if item != "*"]


def _show(value: Any) -> str:
    if callable(value):
        return f"<{getattr(value, '__qualname__', type(value).__name__)}()>"
    return str(value)
