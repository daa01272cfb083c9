"""Hooks that packages document for Gunicorn, word by word, with the packages themselves."""

import os
import signal
from pathlib import Path

import pytest

from support.serving import Serve
from support.waiting import wait_for

PROMETHEUS_CONFIG = """
from prometheus_client import multiprocess

def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
"""

PROMETHEUS_APP = """
from prometheus_client import (
    CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest, multiprocess,
)

REQUESTS = Counter("site_requests", "Requests.")
ALIVE = Gauge("site_alive", "Workers.", multiprocess_mode="livesum")

def app(environ, start_response):
    if environ["PATH_INFO"] == "/metrics":
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
        body = generate_latest(registry)
        start_response("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
        return [body]
    ALIVE.set(1)
    REQUESTS.inc()
    start_response("200 OK", [])
    return [b"counted"]
"""


@pytest.mark.parametrize("options", [[], ["--preload"]], ids=["plain", "preload"])
def test_prometheus_over_all_processes(serve: Serve, tmp_path: Path, options: list[str]) -> None:
    """Counters of dead workers stay, their gauges go, because child_exit has told so."""
    metrics = tmp_path / "metrics"
    metrics.mkdir()
    server = serve(
        "site_app:app",
        *options,
        config=PROMETHEUS_CONFIG,
        files={"site_app.py": PROMETHEUS_APP},
        env={"PROMETHEUS_MULTIPROC_DIR": str(metrics)},
        probe=None,
    )
    for _ in range(3):
        assert server.get("/").status == 200
    [first] = server.workers()
    assert "site_alive 1.0" in server.get("/metrics").text
    server.allow_log("SIGKILL|Failure")
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: server.workers() not in ([], [first]), 20, "another worker")
    server.wait_ready()
    text = server.wait_answer("/metrics").text
    assert "site_requests_total 3.0" in text
    assert "site_alive 1.0" not in text


OPENTELEMETRY_CONFIG = """
from events import note
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult


class Noting(SpanExporter):
    def export(self, spans):
        for span in spans:
            note("span", name=span.name, service=span.resource.attributes["service.name"])
        return SpanExportResult.SUCCESS


def post_fork(server, worker):
    server.log.info("Worker spawned (pid: %s)", worker.pid)
    resource = Resource.create(attributes={"service.name": "site"})
    trace.set_tracer_provider(TracerProvider(resource=resource))
    trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(Noting()))


def worker_exit(server, worker):
    trace.get_tracer_provider().shutdown()
"""

OPENTELEMETRY_APP = """
from opentelemetry import trace

def app(environ, start_response):
    with trace.get_tracer(__name__).start_as_current_span(environ["PATH_INFO"]):
        start_response("200 OK", [])
        return [b"traced"]
"""


@pytest.mark.parametrize("options", [["--preload"], ["--threads", "2"]])
def test_opentelemetry_in_post_fork(serve: Serve, options: list[str]) -> None:
    """Its exporter is a thread: it has to be made in the worker, and flushed when that ends."""
    server = serve(
        "site_app:app",
        *options,
        config=OPENTELEMETRY_CONFIG,
        files={"site_app.py": OPENTELEMETRY_APP},
        probe=None,
    )
    [pid] = server.workers()
    assert server.get("/traced").status == 200
    assert server.stop() == 0
    [span] = server.events("span")
    assert (span["name"], span["service"], span["pid"]) == ("/traced", "site", pid)


SENTRY_CONFIG = """
import sentry_sdk
from events import note
from sentry_sdk.transport import Transport


class Noting(Transport):
    def capture_envelope(self, envelope):
        event = envelope.get_event()
        if event is not None:
            note("sent", kind=event["exception"]["values"][0]["type"],
                 url=event.get("request", {}).get("url", ""))


def post_fork(server, worker):
    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=Noting, default_integrations=False)
"""

SENTRY_APP = """
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware

def site(environ, start_response):
    raise LookupError("failing on purpose")

app = SentryWsgiMiddleware(site)
"""


def test_sentry_reports_what_fails(serve: Serve) -> None:
    server = serve(
        "site_app:app", config=SENTRY_CONFIG, files={"site_app.py": SENTRY_APP}, probe=None
    )
    server.expect_log("Error handling request /here")
    assert server.get("/here").status == 500
    [sent] = server.wait_event("sent")
    assert sent["kind"] == "LookupError"
    assert sent["url"].endswith("/here")


WATCHER = """
import signal
import threading
from events import note


def when_ready(server):
    def watch():
        while not stopped.wait(0.1):
            for pid, worker in list(server.WORKERS.items()):
                if worker.nr >= 3:
                    note("recycled", worker=pid)
                    server.kill_worker(pid, signal.SIGTERM)
                    return

    stopped = threading.Event()
    server.stopped = stopped
    threading.Thread(target=watch, name="watch", daemon=True).start()


def on_exit(server):
    server.stopped.set()
"""


def test_a_thread_of_the_master_watches_workers(serve: Serve) -> None:
    """Made in when_ready, it looks at `server.WORKERS` and calls `server.kill_worker`."""
    server = serve("probes:app", config=WATCHER, probe=None)
    [first] = server.workers()
    for _ in range(3):
        assert server.get("/pid").status == 200
    [event] = server.wait_event("recycled")
    assert event["worker"] == first
    wait_for(lambda: server.workers() not in ([], [first]), 20, "another worker")
    assert server.wait_answer("/pid").status == 200
