"""The closed-loop load: wrk, on a processor of its own."""

import json
import os
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent / "load.lua"

#: Seconds beyond its duration that wrk may take before it counts as hung.
SLACK = 20.0


class LoadFailed(Exception):
    """wrk met an error, or none of its requests was answered: the run does not count."""


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


@dataclass(frozen=True)
class Outcome:
    """What wrk saw; times in seconds. `client_cpu` is what wrk itself used."""

    requests: int
    seconds: float
    p50: float
    p99: float
    client_cpu: float


def available() -> str | None:
    """Why there can be no load; None when there can."""
    if shutil.which("wrk") is None:
        return "wrk is not installed (Debian: apt-get install wrk)"
    return None


def apply(load: Load, port: int, seconds: int, cpu: int) -> Outcome:
    """Run wrk for whole seconds. Raises LoadFailed for any error that it met."""
    command = ["wrk", "--threads", "1", "--connections", str(load.connections)]
    command += ["--duration", f"{seconds}s", "--timeout", "10s", "--script", str(SCRIPT)]
    for header in load.headers:
        command += ["--header", header]
    scheme = "https" if load.secure else "http"
    command += [f"{scheme}://127.0.0.1:{port}/", "--", load.method, str(load.body)]

    def settle() -> None:
        os.sched_setaffinity(0, {cpu})

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + SLACK, preexec_fn=settle
        )
    except subprocess.TimeoutExpired as error:
        raise LoadFailed(f"wrk had not ended after {error.timeout:g} s") from error
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ran.returncode != 0:
        raise LoadFailed(f"wrk ended with {ran.returncode}: {(ran.stderr or ran.stdout).strip()}")
    result = json.loads(ran.stdout.strip().splitlines()[-1])
    errors = {name: count for name, count in result["errors"].items() if count}
    if errors:
        kinds = ", ".join(f"{count} {name}" for name, count in errors.items())
        raise LoadFailed(f"errors in {result['requests']} requests: {kinds}")
    if not result["requests"]:
        raise LoadFailed("no request was answered")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Outcome(result["requests"], result["seconds"], result["p50"], result["p99"], used)
