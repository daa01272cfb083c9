"""The closed-loop load of requests: wrk, on a processor of its own."""

import json
import os
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import client

SCRIPT = Path(__file__).resolve().parent / "load.lua"

#: Seconds beyond its duration that a load generator may take before it counts as hung.
SLACK = 20.0


class LoadFailed(Exception):
    """The load met an error, or nothing was answered: the run does not count."""


@dataclass(frozen=True)
class Outcome:
    """What the load saw; times in seconds. `requests` are messages where the load is of
    messages. `client_cpu` is what the load generator itself used."""

    requests: int
    seconds: float
    p50: float
    p99: float
    client_cpu: float


@dataclass(frozen=True)
class Load:
    """What wrk sends. `headers` are besides Host."""

    method: str = "GET"
    body: int = 0
    headers: tuple[str, ...] = ()
    connections: int = 32
    secure: bool = False

    def payload(self) -> bytes:
        """The same request as bytes."""
        lines = [f"{self.method} / HTTP/1.1", "Host: 127.0.0.1", *self.headers]
        if self.body:
            lines.append(f"Content-Length: {self.body}")
        return "\r\n".join([*lines, "", ""]).encode() + b"x" * self.body

    def missing(self) -> str | None:
        """Why there can be no such load; None when there can."""
        if shutil.which("wrk") is None:
            return "wrk is not installed (Debian: apt-get install wrk)"
        return None

    def warm(self, port: int, times: int) -> None:
        """Send the request so often, one after the other."""
        client.warm(port, self.payload(), times, secure=self.secure)

    def apply(self, port: int, seconds: int, cpu: int) -> Outcome:
        """Run wrk for whole seconds. Raises LoadFailed for any error that it met."""
        command = ["wrk", "--threads", "1", "--connections", str(self.connections)]
        command += ["--duration", f"{seconds}s", "--timeout", "10s", "--script", str(SCRIPT)]
        for header in self.headers:
            command += ["--header", header]
        scheme = "https" if self.secure else "http"
        command += [f"{scheme}://127.0.0.1:{port}/", "--", self.method, str(self.body)]
        return generate(command, seconds, cpu)


def generate(command: list[str], seconds: int, cpu: int) -> Outcome:
    """Run a load generator on a processor. Its last line is its result as JSON.

    Raises LoadFailed for any error that it met.
    """
    name = Path(command[0]).name

    def settle() -> None:
        os.sched_setaffinity(0, {cpu})

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + SLACK, preexec_fn=settle
        )
    except subprocess.TimeoutExpired as error:
        raise LoadFailed(f"{name} had not ended after {error.timeout:g} s") from error
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ran.returncode != 0:
        raise LoadFailed(
            f"{name} ended with {ran.returncode}: {(ran.stderr or ran.stdout).strip()}"
        )
    result = json.loads(ran.stdout.strip().splitlines()[-1])
    errors = {name: count for name, count in result["errors"].items() if count}
    if errors:
        kinds = ", ".join(f"{count} {name}" for name, count in errors.items())
        raise LoadFailed(f"errors in {result['requests']} answers: {kinds}")
    if not result["requests"]:
        raise LoadFailed("nothing was answered")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Outcome(result["requests"], result["seconds"], result["p50"], result["p99"], used)
