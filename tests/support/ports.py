"""Free TCP ports for servers.

Ports come from below the kernel's ephemeral range, so that no client socket of a test that runs
at the same time can take one between our look and the server's bind.
"""

import random
import socket
from collections.abc import Iterator

FIRST = 12_000
LAST = 32_000


def _candidates() -> Iterator[int]:
    """Every port of the range, from a random start: processes rarely meet."""
    start = random.SystemRandom().randrange(FIRST, LAST)
    while True:
        yield from range(start, LAST)
        yield from range(FIRST, start)


_ports = _candidates()


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now. TIME_WAIT of old connections does not count."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """A port where nobody listens. It is not handed out again by this process for a long time."""
    return next(port for port in _ports if is_free(port, host))
