"""Start a server that has no command line of its own: launch.py SERVER APP PORT.

bjoern and fastwsgi are both a function `run(app, host, port)`.
"""

import importlib
import sys


def main() -> None:
    """Serve until a signal ends it."""
    server, target, port = sys.argv[1:]
    module, _, name = target.partition(":")
    app = getattr(importlib.import_module(module), name)
    importlib.import_module(server).run(app, "127.0.0.1", int(port))


if __name__ == "__main__":
    main()
