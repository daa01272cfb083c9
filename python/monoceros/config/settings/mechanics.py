"""How the server is started and what its processes are."""

from monoceros.config.setting import Setting, Surroundings
from monoceros.config.validators import (
    auto_int,
    validate_bool,
    validate_chdir,
    validate_environment,
    validate_pos_int,
    validate_string,
)

SECTION = "Server Mechanics"


class CheckConfig(Setting):
    """Check the configuration and load the app, then exit: 0 when both are in order, else 1."""

    name = "check_config"
    section = "Debugging"
    cli = ("--check-config",)
    action = "store_true"
    validator = validate_bool
    default = False


class PrintConfig(Setting):
    """Print the value of every setting, then do as --check-config does."""

    name = "print_config"
    section = "Debugging"
    cli = ("--print-config",)
    action = "store_true"
    validator = validate_bool
    default = False


class PreloadApp(Setting):
    """Load the app once, before the workers are forked.

    Workers share the memory of what has been loaded, and start faster. The app is loaded in a
    process of its own, so a reload brings new code here too.
    """

    name = "preload_app"
    section = SECTION
    cli = ("--preload",)
    action = "store_true"
    validator = validate_bool
    default = False


class Sendfile(Setting):
    """Do not use sendfile() for the files that the app returns.

    In a config file `sendfile = False` does the same, and `sendfile = True` keeps it on whatever
    the environment variable SENDFILE says.
    """

    name = "sendfile"
    section = SECTION
    cli = ("--no-sendfile",)
    action = "store_const"
    const = False
    validator = validate_bool


class Chdir(Setting):
    """The folder to change to before the app is loaded. It must exist.

    The app's modules are looked for in it. A relative one counts from the folder in which the
    server was started, which is also the default.
    """

    name = "chdir"
    section = SECTION
    cli = ("--chdir",)
    meta = "DIR"
    validator = validate_chdir

    def default_in(self, surroundings: Surroundings) -> str:
        return surroundings.directory


class RawEnv(Setting):
    """Set an environment variable for the app: NAME=VALUE. May be given several times.

    In a config file the value is a list of such texts.
    """

    name = "raw_env"
    section = SECTION
    cli = ("-e", "--env")
    meta = "ENV"
    action = "append"
    validator = validate_environment


class Pidfile(Setting):
    """The file that the arbiter's process id is written to. Without it none is written."""

    name = "pidfile"
    section = SECTION
    cli = ("-p", "--pid")
    meta = "FILE"
    validator = validate_string


class Umask(Setting):
    """The permission bits that are taken away from unix sockets when they are made.

    On the command line 0022 is octal, as in C; in a config file write 0o022.
    """

    name = "umask"
    section = SECTION
    cli = ("-m", "--umask")
    meta = "INT"
    type = auto_int
    validator = validate_pos_int
    default = 0


class PythonPath(Setting):
    """Folders, separated by commas, in which modules are looked for before all others.

    The last one named comes first. A relative one counts from the folder of `chdir`.
    """

    name = "pythonpath"
    section = SECTION
    cli = ("--pythonpath",)
    meta = "STRING"
    validator = validate_string
