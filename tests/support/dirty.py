"""Servers with dirty apps (tests/apps/heavy.py), and calls of them."""

import json
from collections.abc import Mapping
from typing import Any

from monoceros.dirty import DirtyClient
from support.client import exchange
from support.processes import role
from support.server import START_BOUND, Server
from support.serving import Serve
from support.waiting import wait_for

HEAVY = "heavy:Heavy"


class DirtyServer:
    """A server whose web app calls dirty apps. Counts of dirty workers are waited for."""

    def __init__(
        self,
        serve: Serve,
        *options: str,
        apps: tuple[str, ...] = (HEAVY,),
        dirty_workers: int = 1,
        config: str = "",
        files: Mapping[str, str] | None = None,
        wait: bool = True,
        **named: Any,
    ) -> None:
        text = f"dirty_apps = {list(apps)!r}\ndirty_workers = {dirty_workers}\n{config}"
        self.server: Server = serve("heavy:app", *options, config=text, files=files, **named)
        self.config = text
        self.path: str = self.order({})["result"]
        #: A client in the test's own process; it waits longer than any test may take.
        self.client = DirtyClient(self.path, timeout=60)
        if wait:
            self.wait_ready(dirty_workers)

    def order(self, order: dict[str, Any]) -> dict[str, Any]:
        """Have the web app make a call; see tests/apps/heavy.py."""
        answer = exchange(self.server.address, "POST", "/", (), json.dumps(order).encode(), 60)
        assert answer.status == 200, answer.text
        found: dict[str, Any] = json.loads(answer.text)
        return found

    def call(self, action: str, *arguments: Any, app: str = HEAVY) -> Any:
        """The result of a call from the test's own process."""
        return self.client.execute(app, action, *arguments)

    def of_role(self, name: str) -> list[int]:
        """Pids of this server's processes in a role."""
        return sorted(each.pid for each in self.server.family() if role(each) == name)

    @property
    def arbiter(self) -> int:
        """The dirty arbiter's pid."""
        return wait_for(lambda: self.of_role("dirty-arbiter"), START_BOUND, "a dirty arbiter")[0]

    def wait_dirty_workers(self, number: int, *, without: tuple[int, ...] = ()) -> list[int]:
        """Until exactly so many dirty workers are there, none of them of `without`."""

        def found() -> list[int]:
            pids = self.of_role("dirty-worker")
            return pids if len(pids) == number and not set(pids) & set(without) else []

        return wait_for(found, START_BOUND, f"{number} dirty workers, without {without}")

    def wait_ready(self, number: int, *, without: tuple[int, ...] = ()) -> list[int]:
        """Until exactly so many dirty workers are there, and all of them serve."""

        def ready() -> list[int]:
            pids = self.of_role("dirty-worker")
            known = all(f"Dirty worker ready (pid: {pid})" in self.server.log for pid in pids)
            return pids if known and len(pids) == number and not set(pids) & set(without) else []

        return wait_for(ready, START_BOUND, f"{number} dirty workers to be ready")

    def wait_event(self, kind: str, number: int = 1) -> list[dict[str, Any]]:
        """Until apps have noted that so often."""

        def noted() -> list[dict[str, Any]]:
            events = self.server.events(kind)
            return events if len(events) >= number else []

        return wait_for(noted, START_BOUND, f"{number} of {kind!r}")
