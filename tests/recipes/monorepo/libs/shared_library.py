"""Found because of --pythonpath."""

from plain_site import application as site

__all__ = ["site"]
