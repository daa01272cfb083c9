"""The application: where a server's configuration comes from and how its app is loaded.

`BaseApplication` is what embedders derive from; `Application` reads the sources of the command
`monoceros`, `WSGIApplication` knows which app is meant. Later sources win:

1. defaults, some from the environment;
2. what `init` returns;
3. the config file;
4. MONOCEROS_CMD_ARGS, or GUNICORN_CMD_ARGS where that is not set;
5. the command line.

When a server starts, an error ends the process with one line on standard error. When it reloads,
the same error is raised instead, and everything stays as it was.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from monoceros import compat
from monoceros.bind_check import check_addresses
from monoceros.config import Config
from monoceros.config.files import load_config_file, read_config_file
from monoceros.config.setting import current_directory
from monoceros.config.settings.sources import DEFAULT_CONFIG_FILES
from monoceros.errors import (
    AppImportError,
    ConfigError,
    ConfigFileError,
    format_foreign_exception,
)
from monoceros.importer import import_app

#: Option strings from the environment; the first that is set counts.
COMMAND_ARGUMENT_VARIABLES = ("MONOCEROS_CMD_ARGS", "GUNICORN_CMD_ARGS")

#: Exceptions whose text is a sentence; of others the type is needed to understand it.
_SPEAKING = (ConfigError, AppImportError, AttributeError, RuntimeError, TypeError, ValueError)


class BaseApplication:
    """A configuration and an app, in the hands of an embedder.

    Override `load_config`, which calls ``self.cfg.set``, and `load`, which returns the app. The
    constructor reads the configuration; on an error it ends the process with status 1.
    """

    cfg: Config

    def __init__(self, usage: str | None = None, prog: str | None = None) -> None:
        # Before any code of the operator's: it may import Gunicorn's names.
        compat.install()
        self.usage = usage
        self.prog = prog
        self.callable: Callable[..., Any] | None = None
        self.logger: Any = None
        #: Where a daemon's launcher hears of it; -1 where there is none.
        self.launched = -1
        #: What defaults are taken from, on a reload too.
        self.environ: Mapping[str, str] = dict(os.environ)
        try:
            self.start_directory = current_directory()
        except OSError as error:
            fail(ConfigError(f"the current folder can't be used: {error.strerror}"))
        self.do_load_config()

    def do_load_config(self) -> None:
        """Read the configuration into ``self.cfg``; on an error end the process with status 1."""
        try:
            self.read_config()
        except Exception as error:
            fail(error)

    def read_config(self) -> None:
        """Read the configuration into ``self.cfg``; raises what is wrong with it."""
        self.load_default_config()
        self.load_config()
        self.apply_python_path()
        self.cfg.validate()

    def load_default_config(self) -> None:
        self.cfg = Config(
            self.usage, self.prog, environ=self.environ, directory=self.start_directory
        )

    def load_config(self) -> None:
        """Override this: set what differs from the defaults with ``self.cfg.set``."""
        raise NotImplementedError("override load_config")

    def load(self) -> Callable[..., Any]:
        """Override this: import the app and return it. It is called in the worker."""
        raise NotImplementedError("override load")

    def apply_python_path(self) -> None:
        """Let modules be found where `pythonpath` says."""
        for folder in (self.cfg.pythonpath or "").split(","):
            if folder.strip():
                _add_to_path(os.path.abspath(folder.strip()))  # noqa: PTH100 - keeps links

    def reload(self) -> None:
        """Read the configuration again.

        Raises ConfigError, or whatever an embedder's `load_config` raises. The former
        configuration, folder and module path are in force then.
        """
        state = dict(vars(self))
        folder = os.getcwd()  # noqa: PTH109 - a str is wanted
        path = list(sys.path)
        try:
            self.read_config()
            self.callable = None
        except BaseException as error:
            vars(self).clear()
            vars(self).update(state)
            sys.path[:] = path
            os.chdir(folder)
            if isinstance(error, SystemExit):
                raise ConfigError(
                    f"the configuration ended the process: {error.code!r}; it is left as it was"
                ) from error
            raise

    def wsgi(self) -> Callable[..., Any]:
        """The app; loaded on the first call."""
        if self.callable is None:
            self.callable = self.load()
        return self.callable

    def run(self) -> None:
        """Serve until the server is told to stop; does not return where that ends the process."""
        # The arbiter imports the engine; checking a configuration needs neither.
        from monoceros import daemon
        from monoceros.arbiter import Arbiter

        with daemon.reported(lambda: self.launched):
            try:
                self.launched = daemon.launch(self.cfg)
                Arbiter(self).run()
            except (ConfigError, RuntimeError) as error:
                fail(error)


class Application(BaseApplication):
    """Reads command line, environment and config file.

    arguments: the command line without the program's name; that of this process if None.
    """

    def __init__(
        self,
        usage: str | None = None,
        prog: str | None = None,
        arguments: Sequence[str] | None = None,
    ) -> None:
        self.arguments = list(sys.argv[1:] if arguments is None else arguments)
        super().__init__(usage, prog)

    def init(
        self, parser: argparse.ArgumentParser, opts: argparse.Namespace, args: list[str]
    ) -> Mapping[str, Any] | None:
        """Override this: settings of the app's own, which every other source overrules."""
        return None

    def chdir(self) -> None:
        """Enter the folder of `chdir`, and let the app's modules be found there."""
        try:
            os.chdir(self.cfg.chdir)
        except OSError as error:
            raise ConfigError(f"can't chdir to {self.cfg.chdir!r}: {error.strerror}") from error
        _add_to_path(self.cfg.chdir)

    def load_config(self) -> None:
        parser = self.cfg.parser()
        options = parser.parse_args(self.arguments)
        settings = self.init(parser, options, options.args)
        self.chdir()
        named: str | None = None
        for name, value in (settings or {}).items():
            self.cfg.set(name.lower(), value)
            if name.lower() == "config":
                named = value
        environment = self.parse_environment(parser)
        named = options.config or (environment and environment.config) or named
        location = named or find_default_config_file()
        if location:
            self.load_config_from_file(location)
        for source in (environment, options):
            for name, value in vars(source).items() if source else ():
                if value is not None and name != "args":
                    self.cfg.set(name, value)
        if location:
            self.cfg.set("config", location)
        self.chdir()

    def load_config_from_file(self, filename: str) -> dict[str, Any]:
        """Read a config file into ``self.cfg``; its names. Raises ConfigError."""
        return self.load_config_from_module_name_or_filename(filename)

    def load_config_from_module_name_or_filename(self, location: str) -> dict[str, Any]:
        """The same for PATH, file:PATH and python:MODULE."""
        return load_config_file(self.cfg, location)

    def get_config_from_filename(self, filename: str) -> dict[str, Any]:
        """The names of a config file, without an effect. Raises ConfigError."""
        return read_config_file(f"file:{filename}")

    def get_config_from_module_name(self, module_name: str) -> dict[str, Any]:
        """The names of a module, without an effect. Raises ConfigError."""
        return read_config_file(f"python:{module_name}")

    def parse_environment(self, parser: argparse.ArgumentParser) -> argparse.Namespace | None:
        """The options in MONOCEROS_CMD_ARGS or GUNICORN_CMD_ARGS; None where neither is set."""
        for name in COMMAND_ARGUMENT_VARIABLES:
            text = self.cfg.env_orig.get(name)
            if text is None:
                continue
            try:
                words = shlex.split(text)
            except ValueError as error:
                raise ConfigError(
                    f"the environment variable {name} can't be split into words: {error}"
                ) from error
            return parser.parse_args(words)
        return None

    def run(self) -> None:
        """Serve, or only check or print the configuration when that was asked for."""
        if self.cfg.print_config:
            print(self.cfg)
        if self.cfg.print_config or self.cfg.check_config:
            sys.exit(self.check())
        super().run()

    def check(self) -> int:
        """Try what a start would need, and load the app; the exit status, 0 or 1.

        The addresses are looked at and not taken: the server that runs may go on.
        """
        os.environ.update(self.cfg.env)
        # What is found out here is for the terminal, not for the log file.
        self.cfg.set("capture_output", False)
        try:
            check_addresses(self.cfg.address)
            logger = self.cfg.logger_class(self.cfg)
            worker_class = self.cfg.worker_class
            if hasattr(worker_class, "check_config"):
                worker_class.check_config(self.cfg, logger)
        except Exception as error:
            fail(error)
        if self.cfg.is_ssl:
            # Only here is the engine needed to check a configuration.
            from monoceros.tls import open_store

            try:
                open_store(self.cfg)
            except (ConfigError, OSError) as error:
                fail(error)
        try:
            # Which app is served by whom needs no engine to be found out either.
            from monoceros.workers.choice import class_for

            class_for(worker_class, self.cfg, self.load())
        except AppImportError as error:
            _complain(f"\nError while loading the application:\n\n{error}\n")
            return 1
        except Exception as error:
            _complain(
                f"\nError while loading the application:\n\n{format_foreign_exception(error)}"
            )
            return 1
        return 0


class WSGIApplication(Application):
    """The command's application: the app is the first argument, or the setting `wsgi_app`."""

    app_uri: str

    def load_config(self) -> None:
        self.positional: list[str] = []
        super().load_config()
        if self.cfg.paste:
            self._take_paste(self.cfg.paste)
            return
        uri = self.positional[0] if self.positional else self.cfg.wsgi_app
        if not uri:
            raise ConfigError("No application module specified.")
        self.app_uri = uri
        self.cfg.set("default_proc_name", uri)

    def init(
        self, parser: argparse.ArgumentParser, opts: argparse.Namespace, args: list[str]
    ) -> Mapping[str, Any] | None:
        self.positional = list(args)
        if len(args) > 1:
            self.cfg.warn(
                f"only the first of the arguments {' '.join(args)!r} names the app; "
                "the others have no effect"
            )
        return None

    def _take_paste(self, uri: str) -> None:
        from monoceros.paste_deploy import configures_logging, file_of

        self.app_uri = uri
        file = file_of(uri)
        self.cfg.set("default_proc_name", file or uri)
        if file is None:
            return
        if not Path(file).is_file():
            raise ConfigError(f"paste: {file!r} not found")
        named = (self.cfg.logconfig, self.cfg.logconfig_dict, self.cfg.logconfig_json)
        if not any(named) and configures_logging(file):
            self.cfg.set("logconfig", file)

    def load(self) -> Callable[..., Any]:
        if self.cfg.paste:
            from monoceros.paste_deploy import load_app

            return load_app(self.app_uri, self.cfg.paste_global_conf)
        return self.load_wsgiapp()

    def load_wsgiapp(self) -> Callable[..., Any]:
        """The app that `app_uri` names."""
        return import_app(self.app_uri)


def find_default_config_file() -> str | None:
    """The config file that is read when none is named, if there is one in the current folder."""
    return next((path for path in DEFAULT_CONFIG_FILES if Path(path).exists()), None)


def fail(error: BaseException) -> NoReturn:
    """Say on standard error, in one line, why the server does not start, and exit with 1.

    Where the code of a config file failed, its traceback is shown too: it is the operator's.
    """
    if isinstance(error, ConfigFileError) and error.__cause__ is not None:
        _complain(f"{error}\n{format_foreign_exception(error.__cause__)}")
    elif isinstance(error, _SPEAKING):
        _complain(f"\nError: {error}\n")
    else:
        _complain(f"\nError: {type(error).__name__}: {error}\n")
    sys.exit(1)


def _complain(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(text)
    sys.stderr.flush()


def _add_to_path(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)
