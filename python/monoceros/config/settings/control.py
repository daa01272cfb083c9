"""The control socket, by which an operator looks into the server and steers it."""

from typing import Any

from monoceros.config.setting import Setting, Surroundings
from monoceros.config.validators import auto_int, validate_bool, validate_pos_int, validate_string
from monoceros.control.place import default_path

SECTION = "Control"


class ControlSocket(Setting):
    """The path of the control socket; a relative one begins at the server's working folder.

    The default is gunicorn.ctl in $XDG_RUNTIME_DIR, where that folder exists, else
    ~/.gunicorn/gunicorn.ctl: the first server of a user has it, a second one needs a path of its
    own and runs without a control socket until it gets one. A folder that is missing is made for
    the server's user alone. The socket belongs to the user that the master runs as. While an
    upgrade (USR2) is under way the new master's has `.2` behind its name. A path beyond the
    107 bytes that the kernel takes is all right.
    """

    name = "control_socket"
    section = SECTION
    cli = ("--control-socket",)
    meta = "PATH"
    validator = validate_string

    def default_in(self, surroundings: Surroundings) -> Any:
        return default_path(surroundings.environ)


class ControlSocketMode(Setting):
    """The permissions of the control socket, which it has from its first moment.

    Who may write to it may do with the server what its user may.
    """

    name = "control_socket_mode"
    section = SECTION
    cli = ("--control-socket-mode",)
    meta = "INT"
    type = auto_int
    validator = validate_pos_int
    default = 0o600


class ControlSocketDisable(Setting):
    """Have no control socket."""

    name = "control_socket_disable"
    section = SECTION
    cli = ("--no-control-socket",)
    action = "store_true"
    validator = validate_bool
    default = False
