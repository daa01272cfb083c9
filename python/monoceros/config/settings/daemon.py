"""A server that leaves its terminal."""

from monoceros.config.setting import Setting
from monoceros.config.validators import validate_bool


class Daemon(Setting):
    """Go into the background when the server listens.

    The command ends with status 0 then. What keeps the server from listening is told on the
    terminal, and is the command's exit status. In the background the standard streams lead
    nowhere: set `errorlog`. Under a service manager leave it off.
    """

    name = "daemon"
    section = "Server Mechanics"
    cli = ("-D", "--daemon")
    action = "store_true"
    validator = validate_bool
    default = False


class EnableStdioInheritance(Setting):
    """Let a daemon keep its standard output and error, where they are not a terminal."""

    name = "enable_stdio_inheritance"
    section = "Logging"
    cli = ("-R", "--enable-stdio-inheritance")
    action = "store_true"
    validator = validate_bool
    default = False
