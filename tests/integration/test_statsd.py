"""Metrics that go to a statsd, one that takes them, and one that does not."""

import re
import signal
import socket
from pathlib import Path

import pytest

from support.daemons import BOUND, Daemon
from support.serving import Serve
from support.waiting import wait_for

THREADS = pytest.mark.parametrize("threads", ["1", "2"], ids=["sync", "gthread"])

#: One metric and nothing else, as Gunicorn writes them.
METRIC = re.compile(
    r"shop\.gunicorn\.(requests:1\|c\|@1\.0|request\.status\.\d{3}:1\|c\|@1\.0"
    r"|request\.duration:\d+(\.\d+)?(e-\d+)?\|ms|workers:\d+\|g|backlog:\d+\|h"
    r"|log\.(critical|error|warning|exception):1\|c\|@1\.0)\|#env:test,zone:a"
)


@THREADS
@pytest.mark.parametrize("kind", ["udp", "unix"])
def test_metrics_of_requests_workers_and_the_log(
    serve: Serve, tmp_path: Path, threads: str, kind: str
) -> None:
    """In Gunicorn's names, one a datagram, also where no access log is written."""
    path = str(tmp_path / "statsd.sock")
    with Daemon(("127.0.0.1", 0) if kind == "udp" else path, socket.SOCK_DGRAM) as daemon:
        host = f"127.0.0.1:{daemon.port}" if kind == "udp" else f"unix://{path}"
        server = serve(
            "probes:app",
            "--statsd-host",
            host,
            "--statsd-prefix",
            "shop",
            "--dogstatsd-tags",
            "env:test,zone:a",
            "--enable-backlog-metric",
            "--threads",
            threads,
            workers=2,
            probe=None,
        )
        server.expect_log("Error handling request /fail")
        server.expect_log("Invalid request from ip=")
        daemon.wait_for("shop.gunicorn.workers:2|g")
        # A unix socket's queue is short: let each request's metrics arrive before the next.
        for number in range(5):
            assert server.get("/sleep?seconds=0.02").status == 200
            daemon.wait_for("shop.gunicorn.request.status.200:1|c", number + 1)
        assert server.get("/nowhere").status == 404
        daemon.wait_for("shop.gunicorn.request.status.404:1|c")
        assert server.get("/fail").status == 500
        daemon.wait_for("shop.gunicorn.request.status.500:1|c")
        with server.connect() as connection:
            connection.send(b"GET / HTTP/1.1\r\nHost: a\r\nBad Field: x\r\n\r\n")
            assert connection.read_response().status == 400
        daemon.wait_for("shop.gunicorn.request.status.400:1|c")
        server.send_signal(signal.SIGTTIN)
        for metric, count in {
            "request.status.200:1|c": 5,
            "request.status.404:1|c": 1,
            "request.status.500:1|c": 1,
            "request.status.400:1|c": 1,
            "log.exception:1|c": 1,
            "log.warning:1|c": 1,
            "workers:3|g": 1,
            "backlog:": 1,
        }.items():
            daemon.wait_for(f"shop.gunicorn.{metric}", count)
        server.stop()
        metrics = [datagram.decode() for datagram in daemon.received]
    assert [metric for metric in metrics if not METRIC.fullmatch(metric)] == []
    durations = [float(found[1]) for m in metrics if (found := re.search(r"duration:([^|]+)", m))]
    assert len([duration for duration in durations if duration >= 20]) >= 5
    assert len(durations) == sum("gunicorn.requests:" in metric for metric in metrics)


def test_a_statsd_that_is_away_stops_nobody(serve: Serve, tmp_path: Path) -> None:
    """It is said, not for every metric; and a statsd that comes is found."""
    path = str(tmp_path / "statsd.sock")
    server = serve(
        "probes:app", "--statsd-host", f"unix://{path}", "--access-logfile", "access.log"
    )
    server.expect_log(r"statsd at unix:\S+ does not take metrics")
    for _ in range(20):
        assert server.get("/pid").status == 200
    assert server.log.count("does not take metrics") <= 2  # one a process
    with Daemon(path, socket.SOCK_DGRAM) as daemon:

        def told() -> bool:
            assert server.get("/pid").status == 200
            return "gunicorn.request.status.200:1|c|@1.0" in daemon.text

        wait_for(told, BOUND, "metrics")
        server.stop()
    access = server.directory / "access.log"
    assert access.read_text().count('"GET /pid HTTP/1.1" 200') >= 20


HOOKS = """
def post_worker_init(worker):
    metric = {"metric": "app.%s", "value": 3, "mtype": "%s"}
    for kind in ("gauge", "counter", "histogram", "timer"):
        worker.log.info("", extra={**metric, "metric": f"app.{kind}", "mtype": kind})
    worker.log.info("with a message", extra={"metric": "app.said", "value": 1, "mtype": "gauge"})
    worker.log.increment("app.plain", 2)
    worker.log.decrement("app.plain", 1)
"""


def test_hooks_send_metrics_of_their_own(serve: Serve) -> None:
    with Daemon(("127.0.0.1", 0), socket.SOCK_DGRAM) as daemon:
        config = f"statsd_host = '127.0.0.1:{daemon.port}'\n{HOOKS}"
        server = serve("probes:app", config=config, probe=None)
        expected = [
            "app.gauge:3|g",
            "app.counter:3|c|@1.0",
            "app.histogram:3|h",
            "app.timer:3|ms",
            "app.said:1|g",
            "app.plain:2|c|@1.0",
            "app.plain:-1|c|@1.0",
        ]
        daemon.wait_for("app.plain:-1")
        server.stop()
        found = [datagram.decode() for datagram in daemon.received]
    assert [metric for metric in found if metric.startswith("app.")] == expected
    assert "with a message" in server.log


def test_a_reload_changes_where_metrics_go(serve: Serve) -> None:
    """And says what a reload cannot change."""
    with (
        Daemon(("127.0.0.1", 0), socket.SOCK_DGRAM) as first,
        Daemon(("127.0.0.1", 0), socket.SOCK_DGRAM) as second,
    ):
        text = "statsd_host = '127.0.0.1:{}'\n"
        server = serve("probes:app", config=text.format(first.port))
        server.expect_log("The logger's class stays Statsd until a restart: Logger is wanted")
        first.wait_for("gunicorn.requests:1|c")
        config = server.directory / "conf.py"
        config.write_text(text.format(second.port))
        server.send_signal(signal.SIGHUP)

        def told() -> bool:
            server.get("/pid")
            return "gunicorn.request.status.200:1|c" in second.text

        wait_for(told, BOUND, "metrics at the second statsd")
        config.write_text("")
        server.send_signal(signal.SIGHUP)
        server.wait_log("The logger's class stays Statsd")
        server.stop()


OWN = """
from monoceros.logging import Logger

class logger_class(Logger):
    pass
"""


def test_a_logger_that_sends_none_is_named(serve: Serve) -> None:
    server = serve("probes:app", config=f"statsd_host = '127.0.0.1:9'\n{OWN}")
    server.expect_log("statsd_host is set, but logger_class logger_class sends no metrics")
    server.stop()
