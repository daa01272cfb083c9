"""`gunicorn.ctl.client`: a connection to the control socket."""

from monoceros.control.client import ControlClient as ControlClient
from monoceros.control.client import ControlClientError as ControlClientError
