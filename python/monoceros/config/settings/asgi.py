"""Apps on an event loop: which interface an app has, its loop, its lifespan, its WebSockets."""

from monoceros.config.setting import Setting
from monoceros.config.validators import (
    seconds,
    validate_bool,
    validate_choice,
    validate_pos_int,
    validate_seconds,
    validate_string,
)

SECTION = "Worker Processes"


class Interface(Setting):
    """The interface of the app: auto, wsgi or asgi.

    With auto, and no `worker_class` set, the app itself decides once it is loaded: what is called
    with `await` is an ASGI app (FastAPI, Starlette, Django's asgi.py, Quart, Litestar, BlackSheep)
    and served by the worker class `asgi`; anything else is a WSGI app. asgi makes `asgi` the
    worker class that is used where none is set. An app that does not fit the worker class, or what
    is said here, is an error when it is loaded.
    """

    name = "interface"
    section = SECTION
    cli = ("--interface",)
    meta = "STRING"
    validator = validate_choice("auto", "wsgi", "asgi")
    default = "auto"


class AsgiLoop(Setting):
    """The event loop of the worker class `asgi`: auto, asyncio or uvloop.

    auto is uvloop where it is installed (pip install 'monoceros[uvloop]'), else asyncio. Where
    uvloop is asked for and not installed, there is a warning and asyncio is used.
    """

    name = "asgi_loop"
    section = SECTION
    cli = ("--asgi-loop",)
    meta = "STRING"
    default = "auto"

    @staticmethod
    def validator(value: object) -> str:
        return "auto" if value is None else validate_choice("auto", "asyncio", "uvloop")(value)


class AsgiLifespan(Setting):
    """Whether an ASGI app is told of its worker's start and end: auto, on or off.

    Every worker runs a lifespan of its own, and is ready when its app says that the start is
    complete; an app that says that it has failed does not boot. With on an app has to complete the
    start; with auto one that raises an exception or returns instead is served without a lifespan.
    How long a start may take is for `boot_timeout` to say; an end has what is left of
    `graceful_timeout`.
    """

    name = "asgi_lifespan"
    section = SECTION
    cli = ("--asgi-lifespan",)
    meta = "STRING"
    default = "auto"

    @staticmethod
    def validator(value: object) -> str:
        return "auto" if value is None else validate_choice("auto", "on", "off")(value)


class AsgiDisconnectGracePeriod(Setting):
    """Seconds that an ASGI app may go on with a request whose client has left.

    The app is told by http.disconnect, or websocket.disconnect, at once. When the seconds have
    passed, the task of the request is cancelled; 0 cancels it at once.
    """

    name = "asgi_disconnect_grace_period"
    section = SECTION
    cli = ("--asgi-disconnect-grace-period",)
    meta = "INT"
    type = int
    validator = validate_pos_int
    default = 3


class RootPath(Setting):
    """The path under which an ASGI app is mounted: root_path in its scope.

    For a proxy in front that removes a prefix from the path, or that passes it on where the app
    expects it. A WSGI app is told by SCRIPT_NAME in the environment.
    """

    name = "root_path"
    section = "Server Mechanics"
    cli = ("--root-path",)
    meta = "STRING"
    validator = validate_string
    default = ""


class WebsocketMaxMessageSize(Setting):
    """The largest message that a WebSocket client may send, bytes; 0: any.

    A larger one, whole or in fragments, closes the connection with code 1009. A compressed message
    counts with what it becomes.
    """

    name = "websocket_max_message_size"
    section = SECTION
    cli = ("--websocket-max-message-size",)
    meta = "INT"
    type = int
    validator = validate_pos_int
    default = 16777216


class WebsocketMaxQueue(Setting):
    """The number of messages of one WebSocket that wait for the app to receive them.

    When there are as many, the connection is not read until the app has received one: the client
    has to wait. 0 counts as 1.
    """

    name = "websocket_max_queue"
    section = SECTION
    cli = ("--websocket-max-queue",)
    meta = "INT"
    type = int
    default = 32

    @staticmethod
    def validator(value: object) -> int:
        return max(1, validate_pos_int(value))


class WebsocketPingInterval(Setting):
    """Seconds between two pings that are sent to a WebSocket client; 0 sends none.

    They keep proxies from closing a connection over which nothing is said, and find clients that
    are no more: see `websocket_ping_timeout`.
    """

    name = "websocket_ping_interval"
    section = SECTION
    cli = ("--websocket-ping-interval",)
    meta = "SECONDS"
    type = seconds
    validator = validate_seconds
    default = 20


class WebsocketPingTimeout(Setting):
    """Seconds that a WebSocket client has to answer a ping; 0 waits for ever.

    A client that has not answered is taken to be gone, and the app is told with code 1006.
    """

    name = "websocket_ping_timeout"
    section = SECTION
    cli = ("--websocket-ping-timeout",)
    meta = "SECONDS"
    type = seconds
    validator = validate_seconds
    default = 20


class WebsocketDeflate(Setting):
    """Do not compress WebSocket messages.

    They are compressed where a client offers it (permessage-deflate), which nearly all do. In a
    config file it is `websocket_deflate = False`.
    """

    name = "websocket_deflate"
    section = SECTION
    cli = ("--no-websocket-deflate",)
    action = "store_const"
    const = False
    validator = validate_bool
    default = True
