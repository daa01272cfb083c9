"""WSGI servers: us and our peers, and how each is started.

Each is started with one worker unless its name says otherwise, with the settings that make it
fastest, and without an access log.
"""

from collections.abc import Callable

from programs import HERE, OURS, PEER_BIN, UNLIMITED, Launch, Peer, nginx_program


def monoceros(*extra: str) -> Callable[[Launch], list[str]]:
    """Our command line. `{threads}` and `{folder}` in `extra` are filled in."""

    def command(launch: Launch) -> list[str]:
        filled = [word.format(threads=launch.threads, folder=launch.folder) for word in extra]
        return [
            *(str(OURS), "--bind", f"127.0.0.1:{launch.port}", "--workers", "1"),
            *("--log-level", "warning", "--worker-connections", str(launch.connections)),
            *(["--certfile", str(launch.certificate)] if launch.certificate else []),
            *filled,
            launch.app,
        ]

    return command


def gunicorn(*extra: str) -> Callable[[Launch], list[str]]:
    """Gunicorn's command line, with a keep-alive time that outlives the longest run, and with
    the parser that it has when installed by itself."""

    def command(launch: Launch) -> list[str]:
        return [
            *(str(PEER_BIN / "gunicorn"), "--bind", f"127.0.0.1:{launch.port}"),
            *("--workers", "1", "--log-level", "warning", "--keep-alive", "75"),
            *("--worker-connections", str(launch.connections), "--http-parser", "python"),
            *(["--certfile", str(launch.certificate)] if launch.certificate else []),
            *(word.format(threads=launch.threads) for word in extra),
            launch.app,
        ]

    return command


def granian(*extra: str) -> Callable[[Launch], list[str]]:
    """Granian's command line: HTTP/1 only, as the others."""

    def command(launch: Launch) -> list[str]:
        return [
            *(str(PEER_BIN / "granian"), "--interface", "wsgi", "--no-log"),
            *("--host", "127.0.0.1", "--port", str(launch.port)),
            *("--workers", "1", "--http", "1", "--no-ws", "--loop", "asyncio"),
            *("--backlog", "2048", "--backpressure", str(max(1024, launch.connections))),
            *(["--ssl-certificate", str(launch.certificate)] if launch.certificate else []),
            # Its key has to stand in a file of its own.
            *(
                ["--ssl-keyfile", str(launch.certificate.with_suffix(".key"))]
                if launch.certificate
                else []
            ),
            *(word.format(threads=launch.threads) for word in extra),
            launch.app,
        ]

    return command


def launched(server: str) -> Callable[[Launch], list[str]]:
    """A server that is a function call."""

    def command(launch: Launch) -> list[str]:
        script = str(HERE / "apps" / "launch.py")
        return [str(PEER_BIN / "python"), script, server, launch.app, str(launch.port)]

    return command


def nginx(launch: Launch) -> list[str]:
    """nginx answering by itself: what the same exchange costs without any Python."""
    folder = launch.folder
    configuration = folder / "nginx.conf"
    # nginx closes idle connections when fewer than a sixteenth of its connections are free.
    room = launch.connections * 5 // 4
    secure = "".join(
        f"        {name} {launch.certificate};\n"
        for name in ("ssl_certificate", "ssl_certificate_key")
        if launch.certificate
    )
    paths = "".join(
        f"    {kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration.write_text(
        "daemon off;\n"
        "worker_processes 1;\n"
        f"pid {folder}/nginx.pid;\n"
        f"error_log {folder}/nginx.log warn;\n"
        f"worker_rlimit_nofile {room + 100};\n"
        f"events {{ worker_connections {room}; }}\n"
        "http {\n"
        "    access_log off;\n"
        "    default_type text/plain;\n"
        "    keepalive_timeout 75s;\n"
        f"    keepalive_requests {UNLIMITED};\n"
        f"{paths}"
        "    server {\n"
        f"        listen 127.0.0.1:{launch.port} backlog=2048{' ssl' if secure else ''};\n"
        f"{secure}"
        '        location / { return 200 "Hello, World!"; }\n'
        "    }\n"
        "}\n"
    )
    return [str(nginx_program()), "-e", str(folder / "nginx.log"), "-c", str(configuration)]


#: A format that the engine leaves to Python. Its braces are doubled: command lines are filled in.
FIELDS_FORMAT = '%(h)s "%(r)s" %(s)s %(b)s %(L)s "%({{host}}i)s" "%({{content-type}}o)s"'

WSGI_PEERS = (
    Peer("monoceros", "monoceros", "sync, 1 thread", monoceros()),
    Peer(
        "monoceros-threads",
        "monoceros",
        "--threads 4",
        monoceros("--threads", "{threads}"),
    ),
    Peer(
        "monoceros-access-log",
        "monoceros",
        "--access-logfile FILE",
        monoceros("--access-logfile", "{folder}/access.log"),
    ),
    Peer("monoceros-gevent", "monoceros", "-k gevent", monoceros("--worker-class", "gevent")),
    Peer(
        "monoceros-access-log-json",
        "monoceros",
        "--access-logfile FILE --access-log-json",
        monoceros("--access-logfile", "{folder}/access.log", "--access-log-json"),
    ),
    Peer(
        "monoceros-access-log-format",
        "monoceros",
        "--access-logfile FILE, a format with header fields",
        monoceros("--access-logfile", "{folder}/access.log", "--access-logformat", FIELDS_FORMAT),
    ),
    Peer("gunicorn-sync", "gunicorn", "-k sync", gunicorn("--worker-class", "sync")),
    Peer(
        "gunicorn-gthread",
        "gunicorn",
        "-k gthread, 4 threads",
        gunicorn("--worker-class", "gthread", "--threads", "{threads}"),
    ),
    Peer("gunicorn-gevent", "gunicorn", "-k gevent", gunicorn("--worker-class", "gevent")),
    Peer("granian", "granian", "--blocking-threads 1", granian("--blocking-threads", "1")),
    Peer("granian-default", "granian", "default threads", granian(), alternative=True),
    Peer("bjoern", "bjoern", "as it comes", launched("bjoern")),
    Peer("fastwsgi", "fastwsgi", "as it comes", launched("fastwsgi")),
    Peer("nginx", "nginx", "return 200, no Python", nginx, python=False),
)

#: The same programs with as many app threads as a scenario asks for.
THREADED = (
    Peer(
        "monoceros",
        "monoceros",
        "--threads {threads}",
        monoceros("--threads", "{threads}"),
    ),
    Peer(
        "gunicorn-gthread",
        "gunicorn",
        "--threads {threads}",
        gunicorn("--worker-class", "gthread", "--threads", "{threads}"),
    ),
    Peer(
        "granian",
        "granian",
        "--blocking-threads {threads}",
        granian("--blocking-threads", "{threads}"),
    ),
)
