"""What the worker classes on gevent's hub have in common.

The process is patched before the app is imported: in the worker, or with `preload_app` in the mold.
What would wait without gevent's knowledge gets a thread that gevent knows nothing of.
"""

from typing import Any

import gevent.monkey

from monoceros.workers.base import Worker


def patch_process() -> None:
    """Make the standard library cooperative; the second time it does nothing."""
    gevent.monkey.patch_all()


class HubWorker(Worker):
    """A worker whose process gevent has patched."""

    @classmethod
    def before_import(cls) -> None:
        """Called by the mold before it imports the app."""
        patch_process()

    def patch(self) -> None:
        """Make the process cooperative; a subclass may patch more, or less."""
        patch_process()

    def init_process(self) -> None:
        """Patch, then boot as any worker."""
        self.patch()
        super().init_process()

    def start_reloader(self, reloader: Any) -> None:
        """Files are watched on a real thread: waiting for the kernel would hold the hub."""
        gevent.monkey.get_original("_thread", "start_new_thread")(reloader.run, ())
