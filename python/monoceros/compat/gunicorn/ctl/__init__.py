"""`gunicorn.ctl`: the control interface."""

from monoceros.compat import absent
from monoceros.control.client import ControlClient as ControlClient

__getattr__ = absent(
    "gunicorn.ctl",
    dict.fromkeys(
        ("ControlSocketServer", "ControlProtocol"),
        "the master serves the control socket in its own loop; connect with ControlClient",
    ),
)
