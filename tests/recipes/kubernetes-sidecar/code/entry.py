"""Found because of --chdir."""

from plain_site import application

__all__ = ["application"]
