"""What the dirty arbiter waits for: its connections, and a few descriptors besides.

Rules:
- A connection is registered for what can be done with it now: a client that waits for its answer is
  not read from, only its going is noticed; who does not read is waited for.
- Interest is brought up to date once per turn, for those that were touched in it.
"""

import select
from collections.abc import Callable, Iterable
from typing import Final

from monoceros.dirty.link import Link

INPUT: Final = select.EPOLLIN
OUTPUT: Final = select.EPOLLOUT

#: The other side has hung up.
HANGUP: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class Poller:
    """epoll, and the connections that are registered with it."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._links: dict[int, Link] = {}
        self._touched: set[Link] = set()

    def poll(self, patience: float) -> dict[int, int]:
        """Wait for `patience` seconds, -1 for as long as it takes; what happened, by descriptor."""
        return dict(self._epoll.poll(patience))

    def watch(self, descriptor: int) -> None:
        """Wait for input on a descriptor that is no connection."""
        self._epoll.register(descriptor, INPUT)

    def unwatch(self, descriptor: int) -> None:
        """The opposite."""
        self._epoll.unregister(descriptor)

    def add(self, link: Link) -> None:
        """A new connection."""
        self._links[link.fileno()] = link
        link.registered = INPUT | select.EPOLLRDHUP
        self._epoll.register(link.fileno(), link.registered)

    def get(self, descriptor: int) -> Link | None:
        """The connection with this descriptor."""
        return self._links.get(descriptor)

    def forget(self, link: Link) -> None:
        """Let go of a connection, before it is closed. May be called more than once."""
        if link.registered:
            self._epoll.unregister(link.fileno())
            self._links.pop(link.fileno(), None)
            link.registered = 0
        self._touched.discard(link)

    def touch(self, *links: Link) -> None:
        """Something about these has changed."""
        self._touched.update(links)

    def update(self, finish: Callable[[Link], bool], also: Iterable[Link]) -> None:
        """Bring interest up to date, for those in `also`, too.

        finish: takes a connection that was touched; True when it has closed it.
        """
        self._touched.update(also)
        while self._touched:
            link = self._touched.pop()
            if finish(link):
                continue
            if link.ended:
                # Whoever it belongs to closes it; its end would be reported for ever.
                self.forget(link)
                continue
            wanted = select.EPOLLRDHUP
            if link.reads:
                wanted |= INPUT
            if link.pending:
                wanted |= OUTPUT
            if wanted != link.registered:
                self._epoll.modify(link.fileno(), wanted)
                link.registered = wanted

    def release_in_child(self) -> None:
        """In a fork: close the copies of all this."""
        self._epoll.close()
        for link in self._links.values():
            link.socket.close()
