"""Servers for the arbiter's tests: real processes, a worker class in Python, a small app.

Each test says what its app is by text; the app is written into the server's folder, where a test
can replace it before a reload.
"""

import os
from collections.abc import Callable
from typing import Any

import pytest

from integration.arbiter.helpers import OWN_APPS, SITE
from support.server import APPS, Server
from support.serving import Serve

Start = Callable[..., Server]


@pytest.fixture
def start(serve: Serve) -> Start:
    """Start a server on `SITE` (or `site=...`) with the Python worker class."""

    def run(
        *options: str,
        site: str = SITE,
        worker_class: str = "python_worker.PythonWorker",
        env: dict[str, str] | None = None,
        config: str = "",
        app: str = "site_app:app",
        **more: Any,
    ) -> Server:
        # The same folder for everybody: apps of this folder first.
        environment = {"PYTHONPATH": os.pathsep.join([str(OWN_APPS), str(APPS)])} | (env or {})
        return serve(
            app,
            "--worker-class",
            worker_class,
            "--respawn-backoff",
            "0.2",
            *options,
            files={"site_app.py": site},
            config=config or "proc_name = 'test'\n",
            env=environment,
            **more,
        )

    return run


@pytest.fixture(params=[False, True], ids=["plain", "preload"])
def preload(request: pytest.FixtureRequest) -> list[str]:
    """The option for preload, or none: most rules hold both ways."""
    return ["--preload"] if request.param else []
