"""`gunicorn.app.base`: what embedders derive from."""

from monoceros.app import Application as Application
from monoceros.app import BaseApplication as BaseApplication
