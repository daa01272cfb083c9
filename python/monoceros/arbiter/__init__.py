"""The master process: it starts, watches, reloads and stops the workers and never runs the app."""

from monoceros.arbiter.arbiter import Arbiter

__all__ = ["Arbiter"]
