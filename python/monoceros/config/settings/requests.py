"""What a request may be: its size, and how slowly a client may send it and read the answer."""

from monoceros.config.setting import Setting
from monoceros.config.validators import (
    seconds,
    validate_choice,
    validate_folder,
    validate_pos_int,
    validate_seconds,
)


class LimitRequestLine(Setting):
    """The longest request line, bytes. A longer one is answered with 414.

    0 stands for the largest that the server supports.
    """

    name = "limit_request_line"
    section = "Security"
    cli = ("--limit-request-line",)
    meta = "INT"
    type = int
    validator = validate_pos_int
    default = 4094


class LimitRequestFields(Setting):
    """The largest number of header fields of a request. More are answered with 431.

    0 stands for the largest that the server supports.
    """

    name = "limit_request_fields"
    section = "Security"
    cli = ("--limit-request-fields",)
    meta = "INT"
    type = int
    validator = validate_pos_int
    default = 100


class LimitRequestFieldSize(Setting):
    """The longest header field of a request, bytes. A longer one is answered with 431.

    0 stands for the largest that the server supports.
    """

    name = "limit_request_field_size"
    section = "Security"
    cli = ("--limit-request-field_size",)
    meta = "INT"
    type = int
    validator = validate_pos_int
    default = 8190


class HeaderTimeout(Setting):
    """Seconds in which a request's head must arrive, from its first byte on; 0 switches it off.

    A client that is slower is answered with 408.
    """

    name = "header_timeout"
    section = "Slow Clients"
    cli = ("--header-timeout",)
    meta = "SECONDS"
    type = seconds
    validator = validate_seconds
    default = 10


class BodyTimeout(Setting):
    """Seconds without any progress that a client may take over a request's body; 0: no limit.

    A client that sends nothing for so long is answered with 408.
    """

    name = "body_timeout"
    section = "Slow Clients"
    cli = ("--body-timeout",)
    meta = "SECONDS"
    type = seconds
    validator = validate_seconds
    default = 30


class WriteTimeout(Setting):
    """Seconds without any progress that a client may take to read an answer; 0: no limit.

    The connection of a client that reads nothing for so long is closed.
    """

    name = "write_timeout"
    section = "Slow Clients"
    cli = ("--write-timeout",)
    meta = "SECONDS"
    type = seconds
    validator = validate_seconds
    default = 60


class BodyBuffer(Setting):
    """How much of a request's body is kept in memory, bytes.

    A larger one goes on to a temporary file without a name in `spool_dir`. The app is called when
    the body is complete, so that a slow upload occupies no worker.
    """

    name = "body_buffer"
    section = "Slow Clients"
    cli = ("--body-buffer",)
    meta = "BYTES"
    type = int
    validator = validate_pos_int
    default = 262144


class SpoolDir(Setting):
    """The folder for request bodies that are larger than `body_buffer`.

    Large answers that clients are slow to read wait there, too. The files have no names and are
    gone with the process. Without it they go to the system's folder for temporary files (see
    TMPDIR); where that is a file system in memory, they take memory after all.
    """

    name = "spool_dir"
    section = "Slow Clients"
    cli = ("--spool-dir",)
    meta = "DIR"
    validator = validate_folder


class HttpParser(Setting):
    """auto, fast or python: Gunicorn's names of parsers. All three mean the one of this server.

    It is native code, needs no package beside this one, and reads requests in one way only.
    """

    name = "http_parser"
    section = "Worker Processes"
    cli = ("--http-parser",)
    meta = "STRING"
    default = "auto"

    @staticmethod
    def validator(value: object) -> str:
        return "auto" if value is None else validate_choice("auto", "fast", "python")(value)
