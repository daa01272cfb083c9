"""`gunicorn.app.pasterapp`: PasteDeploy's configuration files."""

from monoceros.compat import forward

__getattr__ = forward(
    "monoceros.paste",
    "this release of Monoceros reads no PasteDeploy files: name the app as MODULE:OBJECT",
)
