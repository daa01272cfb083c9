"""uvicorn in our server's place, to try tests of ASGI against another server.

    MONOCEROS_TEST_COMMAND="python tests/support/uvicorn_server.py" pytest tests/integration/asgi

It takes our command line, as far as these tests use it, calls itself a worker, and logs in our
format. What it cannot do, its tests fail at: nothing is made up here.
"""

import argparse
import logging
import signal
import sys
from pathlib import Path
from typing import Any

import setproctitle
import uvicorn

#: Records as our log has them.
FORMAT = "[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s"
DATES = "%Y-%m-%d %H:%M:%S +0000"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bind", "-b", required=True)
    parser.add_argument("--asgi-loop", default="auto")
    parser.add_argument("--asgi-lifespan", default="auto")
    parser.add_argument("--root-path", default="")
    parser.add_argument("--certfile")
    parser.add_argument("--keyfile")
    parser.add_argument("--forwarded-allow-ips", default="127.0.0.1")
    parser.add_argument("--websocket-max-message-size", type=int, default=16 * 1024 * 1024)
    parser.add_argument("--graceful-timeout", type=int, default=30)
    parser.add_argument("app")
    known, others = parser.parse_known_args()
    if others:
        print(f"not understood, left out: {others}", file=sys.stdout)
    return known


def main() -> None:
    options = arguments()
    setproctitle.setproctitle("uvicorn: worker")
    # uvicorn raises the signal that has stopped it again when it is done.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    logging.basicConfig(format=FORMAT, datefmt=DATES, level=logging.INFO)
    listener: dict[str, Any] = {}
    if options.bind.startswith("unix:"):
        listener["uds"] = options.bind.removeprefix("unix:")
    else:
        host, _, port = options.bind.rpartition(":")
        listener |= {"host": host, "port": int(port)}
    sys.path.insert(0, str(Path.cwd()))
    uvicorn.run(
        options.app,
        loop=options.asgi_loop,
        lifespan=options.asgi_lifespan,
        root_path=options.root_path,
        ssl_certfile=options.certfile,
        ssl_keyfile=options.keyfile,
        forwarded_allow_ips=options.forwarded_allow_ips,
        ws_max_size=options.websocket_max_message_size,
        timeout_graceful_shutdown=options.graceful_timeout,
        log_config=None,
        access_log=False,
        **listener,
    )


if __name__ == "__main__":
    main()
