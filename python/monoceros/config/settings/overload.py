"""How much clients may ask for, and what becomes of those for whom there is no room."""

from monoceros.config.setting import Setting
from monoceros.config.validators import seconds, validate_pos_int, validate_seconds


class LimitRequestBody(Setting):
    """The largest body of a request, bytes. A larger one is answered with 413; 0: no limit.

    A body whose length is told in advance is refused before any of it is asked for; one that
    comes in chunks, when it passes the limit. The app is not called.
    """

    name = "limit_request_body"
    section = "Security"
    cli = ("--limit-request-body",)
    meta = "BYTES"
    type = int
    validator = validate_pos_int
    default = 0


class BodyMinRate(Setting):
    """The least rate at which a request's body must come, bytes a second; 0: any rate.

    A client that is slower is answered with 408. The rate is measured over `body_timeout` seconds:
    pauses within them are all right, dripping for longer is not. With `body_timeout` at 0 there is
    no least rate either.
    """

    name = "body_min_rate"
    section = "Slow Clients"
    cli = ("--body-min-rate",)
    meta = "BYTES"
    type = int
    validator = validate_pos_int
    default = 100


class QueueTimeout(Setting):
    """Seconds that a request may wait for its turn; then it is answered with 503. 0: no limit.

    The app is not called for it: after so long its client has most likely given up. The time
    counts from when the request arrived, in the kernel's queue as well. When no worker has had
    room for a further connection for so long (see `worker_connections`), those who wait are
    answered with 503, too. The answer says when to come again (Retry-After). Without a limit
    everybody waits until there is room, or until the kernel's queue (`backlog`) is full.
    """

    name = "queue_timeout"
    section = "Worker Processes"
    cli = ("--queue-timeout",)
    meta = "SECONDS"
    type = seconds
    validator = validate_seconds
    default = 0
