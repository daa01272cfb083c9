"""All servers that are measured, by name."""

from asgi_peers import ASGI_PEERS
from programs import Peer
from wsgi_peers import WSGI_PEERS

PEERS = (*WSGI_PEERS, *ASGI_PEERS)


def named(name: str) -> Peer:
    """The peer of that name."""
    return next(peer for peer in PEERS if peer.name == name)
