"""Dirty apps: heavy apps in a pool of processes of their own, called from the web workers.

Names and meaning are Gunicorn's (`gunicorn.dirty`). The processes, each a child of the one above:

    master
      |- web workers: clients
      |- dirty arbiter: one thread; queues, dispatches, keeps the stash, never imports an app
           |- dirty worker 1..N: the apps, a thread per call

What stands where: `client`, `stash` are what apps use; `app` is what they derive from; `values` and
`frames` are the protocol, without I/O; `arbiter`, `fleet`, `router` are the dirty arbiter; `worker`
is the dirty worker. `monoceros.arbiter.dirty` is the dirty arbiter as the master sees it.
"""

from monoceros.dirty import stash as stash
from monoceros.dirty.app import DirtyApp
from monoceros.dirty.client import (
    DirtyClient,
    close_dirty_client,
    close_dirty_client_async,
    get_dirty_client,
    get_dirty_client_async,
    set_dirty_socket_path,
)
from monoceros.dirty.errors import (
    DirtyAppError,
    DirtyAppNotFoundError,
    DirtyConnectionError,
    DirtyError,
    DirtyNoWorkersAvailableError,
    DirtyProtocolError,
    DirtyTimeoutError,
    DirtyWorkerError,
)
from monoceros.dirty.stash import (
    StashClient,
    StashError,
    StashKeyNotFoundError,
    StashTable,
    StashTableNotFoundError,
)

__all__ = [
    "DirtyApp",
    "DirtyAppError",
    "DirtyAppNotFoundError",
    "DirtyClient",
    "DirtyConnectionError",
    "DirtyError",
    "DirtyNoWorkersAvailableError",
    "DirtyProtocolError",
    "DirtyTimeoutError",
    "DirtyWorkerError",
    "StashClient",
    "StashError",
    "StashKeyNotFoundError",
    "StashTable",
    "StashTableNotFoundError",
    "close_dirty_client",
    "close_dirty_client_async",
    "get_dirty_client",
    "get_dirty_client_async",
    "set_dirty_socket_path",
    "stash",
]
