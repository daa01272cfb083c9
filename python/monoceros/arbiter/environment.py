"""The variables that `raw_env` exports, and what they covered."""

import os
from collections.abc import Mapping


class EnvironmentOverlay:
    """Variables laid over the process's environment; can be taken off again."""

    def __init__(self) -> None:
        self._covered: dict[str, str | None] = {}

    def apply(self, variables: Mapping[str, str]) -> None:
        """Take off what was applied before and export `variables`."""
        self.restore()
        for name, value in variables.items():
            self._covered[name] = os.environ.get(name)
            os.environ[name] = value

    def restore(self) -> None:
        """The environment as it was before `apply`."""
        for name, value in self._covered.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._covered.clear()
