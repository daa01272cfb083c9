"""The engine's face: what Python sees of it. Checked against the built module by mypy.stubtest.

Rules:
- moments are seconds on CLOCK_MONOTONIC, comparable with time.monotonic(); durations are seconds;
  a duration of 0 or less means that there is no limit, unless said otherwise;
- a slot or thread is a number from 0; one that there is not raises IndexError, a negative one
  OverflowError;
- descriptors that are returned stay the callee's, unless said otherwise.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, final, type_check_only

__all__ = [
    "BOOTING",
    "DRAINING",
    "EMPTY",
    "OVERDUE",
    "READY",
    "SLOW",
    "AsgiEngine",
    "Engine",
    "FileWrapper",
    "Handoff",
    "Incident",
    "Input",
    "Job",
    "Request",
    "Response",
    "Running",
    "Scoreboard",
    "SlotStatus",
    "TlsStore",
    "become_subreaper",
    "memory_file",
    "set_parent_death_signal",
    "writes_access_format",
]

#: States of a slot. A worker's life is EMPTY -> BOOTING -> READY -> DRAINING -> EMPTY.
EMPTY: Final = 0
BOOTING: Final = 1
READY: Final = 2
DRAINING: Final = 3

#: Kinds of incident: a request passed its deadline; it ran longer than `slow_after` and goes on.
OVERDUE: Final = 1
SLOW: Final = 2

def set_parent_death_signal(signal: int, /) -> None:
    """Send this process SIGKILL or SIGTERM when its parent dies (PR_SET_PDEATHSIG); 0 switches it
    off.

    Raises ValueError for any other signal, OSError when the kernel refuses.
    """

def become_subreaper() -> None:
    """Orphaned descendants become children of this process (PR_SET_CHILD_SUBREAPER).

    Raises OSError when the kernel refuses.
    """

def writes_access_format(format: str, /) -> bool:
    """Whether the engine can write access lines of this format (of the % operator) by itself: one
    that names single-letter atoms by `%(x)s` only."""

def memory_file(name: str, /) -> int:
    """A descriptor of an anonymous file in memory, closed on exec; the caller closes it.

    `name` is shown in /proc and need not be unique. Raises OSError when there is no room, or
    when the name is too long for the kernel (249 bytes).
    """

@final
class Scoreboard:
    """Anonymous shared memory, made by the arbiter before the first fork, inherited by all.

    One slot per worker. Every access is lock-free; a reader sees each field whole, not the slot
    as a whole.
    """

    def __new__(cls, slots: int, threads: int) -> Scoreboard:
        """Room for `slots` workers of `threads` app threads each, both at least 1.

        Raises OSError when the kernel has no memory or no descriptor left.
        """

    @property
    def slots(self) -> int:
        """How many slots there are."""

    @property
    def threads(self) -> int:
        """How many app threads a slot has room for."""

    # Written by the arbiter.

    def open(self, slot: int, age: int) -> None:
        """Wipe a slot and set it BOOTING for the worker that is about to be forked.

        `age`: the number of that worker, counted over the server's life.
        """

    def close(self, slot: int) -> None:
        """The worker of this slot has been reaped: wipe it, EMPTY."""
    fleet: int
    """How many workers share the listeners; accept is re-queued fairly when more than one."""
    stopping: bool
    """The server stops for good: draining workers empty the kernel's backlog first."""
    def hurry(self, slot: int) -> None:
        """A draining worker shall close idle connections soon: a younger generation drains."""
    def give_up(self, slot: int, listeners: int) -> None:
        """The server gives up addresses of this worker: a bit for each of its first 64 listeners.
        When it drains it takes what waits there."""

    # Written by the worker (the engine writes the rest itself).

    def set_pid(self, slot: int, pid: int) -> None:
        """Note the process that has this slot."""

    def set_state(self, slot: int, state: int) -> None:
        """Note a state and wake the arbiter. The first READY is also noted as `ready_at`.

        Raises ValueError for a number that is no state.
        """

    def set_asgi(self, slot: int) -> None:
        """The worker has found an ASGI app, and serves it as such."""

    def beat(self, slot: int) -> None:
        """The interpreter of this worker is able to run Python now."""

    # Read by the arbiter.

    def read(self, slot: int) -> SlotStatus:
        """A view of this slot."""

    def incidents(self, slot: int) -> list[Incident]:
        """Take what the engine has reported of this slot since the last call; one per app thread
        at most."""

    def fileno(self) -> int:
        """An eventfd, not blocking, that becomes readable when a worker changed state, wants to be
        recycled or reported an incident. The arbiter waits on it."""

    def acknowledge(self) -> None:
        """Reset the eventfd."""

@final
class SlotStatus:
    """One slot, read anew at every access to an attribute.

    Whoever compares two fields, or one field twice, reads each once and keeps the value.
    """

    @property
    def pid(self) -> int:
        """The process, 0 before it is known."""

    @property
    def age(self) -> int:
        """The worker's number, as given to `Scoreboard.open`."""

    @property
    def state(self) -> int:
        """EMPTY, BOOTING, READY or DRAINING."""

    @property
    def opened_at(self) -> float:
        """The moment of `Scoreboard.open`; 0.0 for an empty slot."""

    @property
    def ready_at(self) -> float:
        """The moment of the first READY; 0.0 until then."""

    @property
    def engine_beat(self) -> float:
        """When the engine last gave a sign of life; 0.0 where the worker class has no engine."""

    @property
    def python_beat(self) -> float:
        """The moment of the last `Scoreboard.beat`; 0.0 before the first."""

    @property
    def recycle(self) -> bool:
        """The worker has served `max_requests` and asks for a replacement."""

    @property
    def asgi(self) -> bool:
        """The worker has found an ASGI app where the arbiter could not know."""

    @property
    def connections(self) -> int:
        """Open connections, idle ones among them."""

    @property
    def idle(self) -> int:
        """Connections between two requests."""

    @property
    def requests(self) -> int:
        """Requests answered since the slot was opened."""

    @property
    def bytes_in(self) -> int:
        """Bytes received from clients."""

    @property
    def bytes_out(self) -> int:
        """Bytes sent to clients."""

    @property
    def statuses(self) -> tuple[int, int, int, int, int]:
        """Answers of class 1xx .. 5xx."""

    @property
    def latencies(self) -> list[int]:
        """Requests by duration; bucket n holds those of 2**n to 2**(n+1) microseconds, the first
        one also shorter, the last (19) also longer ones."""

    @property
    def queue_times(self) -> list[int]:
        """Requests that waited for an app thread, by their wait; buckets as in latencies."""

    @property
    def running(self) -> list[Running]:
        """What the app threads run now; threads that run nothing are left out."""

@final
class Running:
    """A request that an app thread runs: a snapshot."""

    @property
    def thread(self) -> int:
        """The app thread."""

    @property
    def since(self) -> float:
        """The moment at which the app was given the request."""

    @property
    def request(self) -> str:
        """Method, a space, and the target; truncated at 120 bytes."""

    @property
    def overdue(self) -> bool:
        """Its deadline has passed; the client has had its 504 where that was possible."""

@final
class Incident:
    """A request that passed its deadline (OVERDUE) or ran longer than `slow_after` (SLOW)."""

    @property
    def kind(self) -> int:
        """OVERDUE or SLOW."""

    @property
    def id(self) -> int:
        """Number of the request in its worker, from 1."""

    @property
    def thread(self) -> int:
        """The app thread that runs it."""

    @property
    def elapsed(self) -> float:
        """Seconds since the app was given the request."""

    @property
    def phase(self) -> str:
        """`in app`, `writing`: where it was when the deadline passed."""

    @property
    def answered(self) -> bool:
        """OVERDUE only: nothing had been sent and the client got 504."""

    @property
    def peer(self) -> str:
        """Address of the client, "" for a unix socket."""

    @property
    def head(self) -> bytes:
        """The request head as received, truncated at 2048 bytes."""

@final
class Handoff:
    """The exchange by which connections move from worker to worker: made by the arbiter before the
    workers are forked that shall share it.

    Raises OSError when the kernel has no descriptors or memory.
    """

    def __new__(cls) -> Handoff: ...
    def turn_away(self) -> int:
        """For when no worker is left: close the connections that are under way, those that have
        brought a request with 503; how many those were."""

@final
class TlsStore:
    """Certificates, keys and the keys of session tickets: read and checked by the arbiter, in
    memory that the workers which are forked afterwards share. What is published is used for the
    next connection.

    `pairs`: files with a certificate chain and with its key, PEM; the first is for clients that
    name no host, or an unknown one. `password`: of encrypted keys. `ca_certs`: file with the
    certificates that may sign those of clients; `cert_reqs`: 0 = clients are not asked, 1 = they
    may show one, 2 = they must. `ciphers`: a list of OpenSSL's, None = all. `only_tls13`: TLS
    1.2 is refused. `former`: a store whose tickets stay good.

    Raises ValueError with a sentence for the operator when something cannot be read or used,
    OSError when the kernel has no memory or no random bytes.
    """

    TICKET_PERIOD: Final[int]
    """Seconds after which `rotate_tickets` is due."""

    def __new__(
        cls,
        pairs: Sequence[tuple[str, str]],
        *,
        password: str | None = None,
        ca_certs: str | None = None,
        cert_reqs: int = 0,
        ciphers: str | None = None,
        only_tls13: bool = False,
        former: TlsStore | None = None,
    ) -> TlsStore: ...
    def reload(self) -> bool:
        """Read the files again and publish what has changed; whether anything has. Raises
        ValueError as the constructor does; then everything is as before."""

    def rotate_tickets(self) -> None:
        """A new key for session tickets; the two former ones still open theirs."""

    @property
    def ends(self) -> list[tuple[Path, int]]:
        """For each file with a certificate when that ends, seconds since 1970."""

    @property
    def files(self) -> list[Path]:
        """Every file that is read."""

@final
class Input:
    """`wsgi.input` (PEP 3333, "Input and Error Streams"): a request body that has been received
    whole, in memory or in a spool file.

    Methods mean what io.BytesIO's mean: None and negative sizes ask for everything, and at the
    end there is b"". Each raises OSError when the spool file cannot be read. The engine makes
    these.
    """

    def read(self, size: int | None = None, /) -> bytes:
        """The next `size` bytes, fewer only at the end."""

    def readline(self, size: int | None = None, /) -> bytes:
        """The next line with its LF, of no more than `size` bytes."""

    def readlines(self, hint: int | None = None, /) -> list[bytes]:
        """The next lines, whole ones, until they have `hint` bytes; all when it is 0 or less."""

    def __iter__(self) -> Iterator[bytes]: ...
    def __next__(self) -> bytes: ...

@final
class FileWrapper:
    """`wsgi.file_wrapper` (PEP 3333, "Optional Platform-Specific File Handling").

    A regular file that is opened as plain binary is sent from its current position by the kernel;
    anything else with a `read` method is read block by block.
    """

    def __new__(cls, filelike: Any, blksize: int = ...) -> FileWrapper:
        """`blksize`: bytes per block where the file is read; 8192 unless given."""

    @property
    def filelike(self) -> Any:
        """The file, as given."""

    @property
    def blksize(self) -> int:
        """Bytes per block."""

    def __iter__(self) -> Iterator[Any]: ...
    def __next__(self) -> Any:
        """The next block, as the file's `read` returns it."""

    def close(self) -> None:
        """Close the file, where it has a `close` method."""

@final
class Request:
    """The head of a request as hooks and loggers see it, with the attributes of Gunicorn's
    contract.

    Text is decoded as latin-1 (PEP 3333, "Unicode Issues"). Every attribute can be set and further
    ones can be added; the engine looks at none of them again. The engine makes these, and only
    for workers that have an observer.
    """

    method: str
    uri: str
    """The request target, as received."""
    path: str
    query: str
    """What follows the first "?", without it; "" when there is none."""
    fragment: str
    version: tuple[int, int]
    """(1, 1) or (1, 0)."""
    headers: list[tuple[str, str]]
    """(NAME, value), names in upper case, in the order in which they came."""
    trailers: list[tuple[str, str]]
    body: Input | None
    """The environ's `wsgi.input`; None until the environ has been made."""
    scheme: str
    peer_addr: tuple[str, int] | str
    """(host, port), or "" for a unix socket."""
    remote_addr: tuple[str, int] | str
    """As `peer_addr`."""
    req_number: int
    """Number of the request on its connection, from 1."""
    must_close: bool
    """The connection ends with this request."""
    proxy_protocol_info: Any
    """None: the PROXY protocol is not there yet."""
    cfg: Any
    """None until somebody sets it."""
    unreader: Any
    """None: the engine has read the body already."""

    def should_close(self) -> bool:
        """Whether `must_close` is set."""

    def force_close(self) -> None:
        """Set `must_close`. The engine decides by what the app answers, not by this."""

@final
class Response:
    """What became of a request, as hooks and loggers see it, with the attributes of Gunicorn's
    contract.

    Every attribute can be set and further ones can be added. The engine makes these, and only for
    workers that have an observer.
    """

    status: str
    """As the app gave it, "200 OK"; the number alone where the server answered by itself."""
    status_code: int
    """The status that went out."""
    headers: Any
    """The list of (name, value) as the app gave it; empty where the server answered by itself."""
    response_length: int | None
    """None: the framing is the engine's."""
    sent: int
    """Bytes of the body."""
    headers_sent: bool
    chunked: bool
    must_close: bool
    """The connection ends with this response."""
    upgrade: bool
    """The status is 101."""
    version: tuple[int, int]
    """The request's."""
    req: Request
    sock: Any
    """None: the connection stays the engine's."""
    cfg: Any
    """None until somebody sets it."""

    def should_close(self) -> bool:
        """Whether `must_close` is set."""

@type_check_only
class _Observer(Protocol):
    """Who is told of each request, on the app thread that runs it."""

    def before(self, request: Request, /) -> object:
        """The head is there, the environ is not. What this raises is handled as if the app had
        raised it."""

    def after(
        self, request: Request, environ: dict[str, Any], response: Response, seconds: float, /
    ) -> object:
        """The request is over, `seconds` after the app was given it. `environ` is empty where it
        could not be made. Not called for a request that passed its deadline: its incident is the
        report. What this raises goes to the log and changes nothing."""

    def refused(self, environ: dict[str, Any], status: int, /) -> object:
        """The engine has refused a request. `environ` has what is known: REQUEST_METHOD, RAW_URI,
        PATH_INFO, QUERY_STRING, SERVER_PROTOCOL ("-" for what has not come) and REMOTE_ADDR."""

@final
class Job:
    """A request, or something else that has to be done where the app runs. The engine makes
    these."""

    @property
    def request(self) -> int | None:
        """Number of the request in its worker, from 1; None where it is no request."""

    @property
    def explains(self) -> int | None:
        """There is nothing to run: the arbiter reports the request of this number, whose stack
        only its greenlet has."""

    def run(self) -> None:
        """Do it, in a greenlet of its own; once. Raises SystemExit and KeyboardInterrupt of the
        app: the worker is to end."""

@final
class AsgiEngine:
    """The connections of one worker whose app runs in an event loop. Made after fork, in the loop's
    thread, and used there only, but for `drain` and `stop`.

    `app`: the ASGI 3 callable. `listeners`, `scoreboard`, `slot`, `observer`, `access`, `log` and
    `tls` are those of `Engine`, and so are the `options`, but for `sendfile`, `multithread` and
    what is WSGI's; further ones, all required:

    - `root_path`: of every scope;
    - `disconnect_grace`: seconds an app has to end after its client has left, before its task is
      cancelled; 0 = at once;
    - `websocket_max_message_size`: bytes, 0 = any; `websocket_deflate` (bool): agree to
      permessage-deflate; `websocket_max_queue`: messages that are read ahead of the app;
    - `websocket_ping_interval`, `websocket_ping_timeout`: seconds, 0 = off.

    `threads` says how many requests the scoreboard shows by name.

    The loop and the engine wait together in one of two ways. With `loop_fd`, an epoll of the
    loop's own descriptors, the loop's selector calls `turn` in place of waiting, and asks its own
    epoll when that returns True. Without it the loop watches `fileno()` and calls `turn(0)` when it
    is readable, and once in the beginning.

    `state`: what each request gets a shallow copy of. `explain`: gives the text of where a task
    is, for the log, when its request is slow or overdue.

    Raises as `Engine`.
    """

    def __new__(
        cls,
        listeners: Sequence[int],
        app: Callable[..., Any],
        options: dict[str, Any],
        scoreboard: Scoreboard,
        slot: int,
        *,
        event_loop: Any,
        loop_fd: int | None = None,
        state: dict[Any, Any] | None = None,
        explain: Callable[[Any], str] | None = None,
        observer: _Observer | None = None,
        access: tuple[int, str | None, Callable[[int], str], Callable[[dict[str, Any]], str | None]]
        | None = None,
        log: Callable[[int, str, Any], object] | None = None,
        tls: TlsStore | None = None,
    ) -> AsgiEngine: ...
    def turn(self, timeout: float | None, /) -> bool:
        """Serve what is ready; wait for something `timeout` seconds at most (None: for ever). True:
        the descriptors of `loop_fd` may have news.

        Requests' tasks take their first step in here, and Python's signal handlers run; what they
        raise beside Exception leaves this call. Returns at once when the engine has ended.
        RuntimeError within another turn.
        """

    def fileno(self) -> int:
        """A descriptor that is readable when a turn has something to do."""

    @property
    def ended(self) -> bool:
        """It has drained or stopped."""

    def drain(self, grace: float) -> None:
        """As of `Engine`. WebSockets are closed, 1001 where the server stops and 1012 else."""

    def stop(self) -> None:
        """As of `Engine`."""

    def wakeup_fd(self) -> int:
        """As of `Engine`."""

    @property
    def cut(self) -> list[str]:
        """As of `Engine`."""

@final
class Engine:
    """The connections of one worker, and its app threads. Made after fork, once per worker.

    `listeners`: listening sockets, non-blocking or not; the worker keeps them open.

    `app`: the WSGI callable.

    `options`, all of them required (KeyError names the first that is missing):

    - `threads`: how many threads will call `run`;
    - `multithread` (bool): `wsgi.multithread`; `workers`: more than one makes `wsgi.multiprocess`;
    - `worker_connections`: open connections beyond which no more are accepted;
    - `keepalive`: seconds an idle connection is kept, 0 = one request per connection;
    - `handshake_timeout`: seconds from accepting a connection to the end of its TLS handshake;
    - `header_timeout`: seconds from the first byte of a request head to its last;
    - `body_timeout`, `write_timeout`: seconds without progress of a request body, of an answer;
    - `body_min_rate`: bytes a second at which a body must come over any `body_timeout`, 0 = any;
    - `limit_request_body`: bytes of the largest request body, 0 = any;
    - `queue_timeout`: seconds a request may wait for an app thread before it is refused;
    - `timeout`, `request_timeout`: seconds for a request in the app; the shorter one counts;
    - `slow_after`: seconds after which a request in the app is reported as SLOW;
    - `graceful_timeout`: seconds for draining when a signal asks for it;
    - `max_requests`: requests after which the worker asks to be replaced, 0 = never;
    - `body_buffer`: bytes of a request body kept in memory; `spool_dir` (str or None, which means
      the system's folder for temporary files): where bodies beyond that go;
    - `limit_request_line`, `limit_request_field_size` (bytes), `limit_request_fields` (number);
    - `sendfile` (bool): let the kernel send files; `server`: value of the Server field, "" for
      none; `server_software`: `SERVER_SOFTWARE`;
    - `lifeline`: a descriptor that hangs up when the arbiter is gone, or None.

    Further options are ignored. `scoreboard`, `slot`: where the engine notes what it does.
    `tls`: makes every listener speak TLS.
    `errors`: `wsgi.errors`; sys.stderr when None. `log`: called with a level of the module
    logging, a text, and an exception or None; without it nothing is said.

    `access`: how the engine writes access lines by itself, once for every request and without
    an observer: a descriptor, a format that `writes_access_format` accepts (None: JSON), what
    gives the time as lines show it for a second since 1970 (for JSON without fractions and zone,
    in UTC), and what gives the user of an environ or None. Requests that the engine refuses have
    lines too; an observer is told of them by `refused`.

    `wait_writable`: the app runs in greenlets of one thread, `threads` at a time, which `take`s
    jobs instead of calling `run`. This is called with a descriptor and seconds (None: any time),
    in a greenlet; it lets others run until the descriptor takes more, and says whether it does. A
    negative descriptor never does.

    `handoff`: the exchange of all workers with these listeners, in this order; None: connections
    stay where they are. It has no effect with TLS or uwsgi.

    Raises OSError when the kernel refuses what the engine needs, ValueError for a format that it
    cannot write.
    """

    def __new__(
        cls,
        listeners: Sequence[int],
        app: Callable[..., Any],
        options: dict[str, Any],
        scoreboard: Scoreboard,
        slot: int,
        *,
        observer: _Observer | None = None,
        access: tuple[int, str | None, Callable[[int], str], Callable[[dict[str, Any]], str | None]]
        | None = None,
        errors: Any = None,
        log: Callable[[int, str, Any], object] | None = None,
        tls: TlsStore | None = None,
        wait_writable: Callable[[int, float | None], bool] | None = None,
        handoff: Handoff | None = None,
    ) -> Engine: ...
    def run(self) -> None:
        """Be an app thread until the engine has drained or stopped.

        Call it from as many threads as option `threads` says, each once; RuntimeError for one
        more. Python's signal handlers run in here when it is called from the main thread; what
        they raise leaves this call, and so does what the app raises beside Exception.
        """

    def take(self) -> Job | None:
        """The next job for a greenlet; None when there is none now. Never waits. Python's signal
        handlers run in here."""

    def ready_fd(self) -> int:
        """A descriptor that is readable when there is a job, or the engine has ended; -1 without
        `wait_writable`."""

    def write_lines(self) -> None:
        """Write the access lines that the greenlets' requests have left behind."""

    @property
    def ended(self) -> bool:
        """It has drained or stopped; `take` may still give jobs that close what is left."""

    def wait(self, timeout: float) -> bool:
        """For a main thread that is not an app thread: sleep until the engine has ended (True),
        a signal arrived or `timeout` seconds have passed (False). Signal handlers run in here."""

    def drain(self, grace: float) -> None:
        """Stop accepting, answer what is there, then end; cut the rest after `grace` seconds, at
        once when 0.

        Safe to call from a signal handler, and more than once: the earliest end counts.
        """

    def stop(self) -> None:
        """End now: running requests are not waited for. Safe to call from a signal handler."""

    def wakeup_fd(self) -> int:
        """For signal.set_wakeup_fd: lets the engine see signals while Python is stuck."""

    @property
    def cut(self) -> list[str]:
        """After the end: what was cut, one "METHOD target" each."""
