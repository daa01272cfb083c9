"""Worker processes: how many, of which class, and how long they may take and live."""

from monoceros.config.setting import Setting, Surroundings
from monoceros.config.validators import (
    seconds,
    validate_class,
    validate_pos_int,
    validate_seconds,
)
from monoceros.errors import ConfigError

SECTION = "Worker Processes"


class Workers(Setting):
    """The number of worker processes.

    A good start is twice the number of cores plus one for `sync`, the number of cores for a class
    that runs many requests at a time. The signals TTIN and TTOU change it while the server runs.
    The default is the environment variable WEB_CONCURRENCY if it is set, else 1.
    """

    name = "workers"
    section = SECTION
    cli = ("-w", "--workers")
    meta = "INT"
    type = int
    validator = validate_pos_int
    default = 1

    def default_in(self, surroundings: Surroundings) -> int:
        text = surroundings.environ.get("WEB_CONCURRENCY", "").strip()
        if not text:
            return int(self.default)
        try:
            return validate_pos_int(int(text))
        except ValueError:
            raise ConfigError(
                f"the environment variable WEB_CONCURRENCY is {text!r}, which is no number of "
                "workers: set it to a whole number of 0 or more, or unset it"
            ) from None


class WorkerClass(Setting):
    """The kind of worker: an alias, or the dotted path of a class.

    The aliases are sync, gthread, asgi, gevent, gevent_pywsgi and tornado. sync runs one request at
    a time in each worker, gthread as many as `threads` says, gevent as many as `worker_connections`
    says, each in a greenlet (it needs the extra: pip install 'monoceros[gevent]'). Slow clients
    occupy none of them: a request is handed to the app when it is complete, and its answer is sent
    without it. `sync` with more than one thread means gthread.

    asgi runs ASGI apps, each request in a task of an event loop (`asgi_loop`). It need not be
    named: where no class is set, an app that is an ASGI app is served by it (`interface`).
    `uvicorn.workers.UvicornWorker` and the other names of uvicorn's are uvicorn's own classes where
    that is installed, and mean asgi where it is not.

    gevent_pywsgi and tornado bring HTTP servers of their own, gevent's and Tornado's, for apps
    that need them: WebSocket handlers on gevent, a tornado.web.Application. What other settings
    say about requests, proxies and limits is the business of those servers then. In a config file
    the value may be the class itself.
    """

    name = "worker_class"
    section = SECTION
    cli = ("-k", "--worker-class")
    meta = "STRING"
    validator = validate_class
    default = "sync"


class Threads(Setting):
    """The number of requests that one worker runs at a time. 0 counts as 1.

    More than 1 turns the worker class `sync` into `gthread`.
    """

    name = "threads"
    section = SECTION
    cli = ("--threads",)
    meta = "INT"
    type = int
    default = 1

    @staticmethod
    def validator(value: object) -> int:
        return max(1, validate_pos_int(value))


class WorkerConnections(Setting):
    """The number of connections that one worker keeps open at a time.

    A worker that has as many accepts no further one until one has ended; the kernel's queue and
    the other workers take them meanwhile. With gevent it bounds the requests that run at a time
    as well, and with asgi WebSockets count.
    """

    name = "worker_connections"
    section = SECTION
    cli = ("--worker-connections",)
    meta = "INT"
    type = int
    validator = validate_pos_int
    default = 1000


class MaxRequests(Setting):
    """Replace a worker after this many requests; 0 never does.

    The replacement is ready before the old worker stops. A remedy for apps that leak memory.
    """

    name = "max_requests"
    section = SECTION
    cli = ("--max-requests",)
    meta = "INT"
    type = int
    validator = validate_pos_int
    default = 0


class MaxRequestsJitter(Setting):
    """Add a random number of up to this many requests to each worker's `max_requests`.

    It keeps the workers from being replaced all at the same time.
    """

    name = "max_requests_jitter"
    section = SECTION
    cli = ("--max-requests-jitter",)
    meta = "INT"
    type = int
    validator = validate_pos_int
    default = 0


class Timeout(Setting):
    """Seconds after which a worker that does not get on is killed and replaced; 0 switches it off.

    For `sync` it bounds a request. For the other classes it says that the worker's interpreter
    must be able to run: a long request is fine, a call that never lets the interpreter go is not.
    With asgi it says the same of the event loop: a coroutine that blocks it is shown and ended.
    The log names the request and shows the stack before the worker is killed. To bound requests
    in every class, set `request_timeout`.
    """

    name = "timeout"
    section = SECTION
    cli = ("-t", "--timeout")
    meta = "INT"
    type = int
    validator = validate_pos_int
    default = 30


class RequestTimeout(Setting):
    """Seconds that the app may take for one request, in every worker class; 0 switches it off.

    When they have passed and nothing has been sent, the client gets 504. The worker is replaced
    once its other requests have been answered.
    """

    name = "request_timeout"
    section = SECTION
    cli = ("--request-timeout",)
    meta = "SECONDS"
    type = seconds
    validator = validate_seconds
    default = 0


class BootTimeout(Setting):
    """Seconds that a worker may take to import the app and get ready; 0 switches it off.

    A worker that takes longer is explained by its stack in the log, killed and started again.
    """

    name = "boot_timeout"
    section = SECTION
    cli = ("--boot-timeout",)
    meta = "SECONDS"
    type = seconds
    validator = validate_seconds
    default = 0


class GracefulTimeout(Setting):
    """Seconds that a worker has to finish its requests when it is to stop or be replaced.

    What is still running then is cut, and the log says what it was.
    """

    name = "graceful_timeout"
    section = SECTION
    cli = ("--graceful-timeout",)
    meta = "INT"
    type = int
    validator = validate_pos_int
    default = 30


class KeepAlive(Setting):
    """Seconds that an idle connection is kept open for a further request; 0 closes it at once.

    The default outlasts the 60 seconds for which common proxies and load balancers keep theirs:
    the side that closes first must not be the server, or a request is lost on the way. An idle
    connection costs a few hundred bytes and no thread.
    """

    name = "keepalive"
    section = SECTION
    cli = ("--keep-alive",)
    meta = "INT"
    type = int
    validator = validate_pos_int
    default = 75


class RespawnBackoff(Setting):
    """Seconds before a worker that has died more than once in a row is started again.

    A worker that dies is replaced at once the first time. When its replacements die too, the pause
    begins with this value and doubles each time, to at most 30 seconds; it begins anew when the
    workers have been well for a while. 0 never pauses.
    """

    name = "respawn_backoff"
    section = SECTION
    cli = ("--respawn-backoff",)
    meta = "SECONDS"
    type = seconds
    validator = validate_seconds
    default = 0.5
