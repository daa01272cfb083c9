"""A new master beside the old one."""

from typing import Any

from monoceros.config.setting import Setting
from monoceros.config.validators import validate_callable

SECTION = "Server Hooks"


class PreExec(Setting):
    """pre_exec(server): on SIGUSR2, in the fork that is about to become the new master.

    When it raises, there is no new master, and the old one goes on serving.
    """

    name = "pre_exec"
    section = SECTION
    validator = validate_callable(1)

    @staticmethod
    def default(server: Any) -> None:
        pass
