"""Sharing a port with other servers."""

from monoceros.config.setting import Setting
from monoceros.config.validators import validate_bool


class ReusePort(Setting):
    """Let other servers that set this listen at the same port (SO_REUSEPORT).

    The kernel spreads new connections over the servers. Among the workers of one server it changes
    nothing: they share the server's socket and take turns, so that a connection which waits to be
    accepted belongs to no worker and is not lost with one.
    """

    name = "reuse_port"
    section = "Server Mechanics"
    cli = ("--reuse-port",)
    action = "store_true"
    validator = validate_bool
    default = False
