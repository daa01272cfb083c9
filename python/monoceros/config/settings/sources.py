"""Where the configuration and the app come from, and where the server listens."""

from monoceros.config.setting import Setting, Surroundings
from monoceros.config.validators import (
    validate_list_string,
    validate_mode,
    validate_pos_int,
    validate_string,
)

#: Read when no config file is named; the first that exists.
DEFAULT_CONFIG_FILES = ("./monoceros.conf.py", "./gunicorn.conf.py")


class ConfigFile(Setting):
    """The config file: PATH, file:PATH or python:MODULE.

    It is Python; each module-level name that is a setting sets it. Without this setting
    ./monoceros.conf.py is read if it exists, else ./gunicorn.conf.py. A relative path counts from
    the folder the server was started in, whatever `chdir` says. A reload reads it again.

    Only the command line and MONOCEROS_CMD_ARGS can name it; set in a config file, it has no
    effect.
    """

    name = "config"
    section = "Config File"
    cli = ("-c", "--config")
    meta = "CONFIG"
    validator = validate_string
    default = DEFAULT_CONFIG_FILES[0]


class WsgiApp(Setting):
    """The app, as MODULE or MODULE:OBJECT, where the command line does not name it.

    OBJECT is `application` if it is left out. It is a name, a dotted name, or a call of one with
    literal arguments: `site.wsgi:create_app("production")`.
    """

    name = "wsgi_app"
    section = "Config File"
    meta = "APP_MODULE"
    validator = validate_string


class Bind(Setting):
    """The address to listen on: HOST, HOST:PORT, unix:PATH or fd://N. May be given several times.

    An IPv6 host stands in brackets: [::1]:8000. An empty host means every address, an empty port
    8000. `fd://N` is a socket that this process has inherited. In a config file the value is one
    text or a list. When the environment variable PORT is set, the default is 0.0.0.0:$PORT.
    """

    name = "bind"
    section = "Server Socket"
    cli = ("-b", "--bind")
    meta = "ADDRESS"
    action = "append"
    validator = validate_list_string
    default = "127.0.0.1:8000"

    def default_in(self, surroundings: Surroundings) -> list[str]:
        port = surroundings.environ.get("PORT", "").strip()
        return [f"0.0.0.0:{port}"] if port else [self.default]


class Backlog(Setting):
    """How many connections may wait in the kernel to be accepted.

    The kernel's own limit (net.core.somaxconn on Linux) caps it.
    """

    name = "backlog"
    section = "Server Socket"
    cli = ("--backlog",)
    meta = "INT"
    type = int
    validator = validate_pos_int
    default = 2048


class SocketMode(Setting):
    """The permissions of unix sockets, octal: 0660 lets in their user and group only.

    A socket has them from its first moment. Without this setting `umask` decides, and while that
    is 0 every user of the machine may connect, and is believed like a proxy.
    """

    name = "socket_mode"
    section = "Server Socket"
    cli = ("--socket-mode",)
    meta = "MODE"
    validator = validate_mode
