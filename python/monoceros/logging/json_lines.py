"""Access lines as JSON: one object a line, with the same fields in the same order always.

    time         when the line was made, UTC (RFC 3339, milliseconds)
    remote_addr  the client's address; "" for a unix socket
    user         the user of Basic credentials
    method, target, protocol   the request line, as it came
    path         the target's path, decoded and without query
    status       the status of the answer, a number
    bytes        bytes of its body
    duration     seconds from the complete request to the end of the answer
    referer, user_agent        the fields of these names
    pid          of the worker

The rules of this module:

- What is not there is null, so that every field has one type.
- A line is one line, in whatever way a reader splits lines, and no terminal takes it for an order.
- The engine writes the same where nobody has a say (`access_json.rs`); a test holds the two
  against each other.
- Atoms that a logger class adds follow under their own names.
"""

import json
import os
import re
import time
from collections.abc import Mapping
from typing import Any

from monoceros.logging.atoms import ATOMS, MISSING, AtomSource

#: Field -> the environ variable it is, or the atom that a logger class may have changed.
_BEFORE = (
    ("remote_addr", "REMOTE_ADDR", "h"),
    ("user", None, "u"),
    ("method", "REQUEST_METHOD", "m"),
    ("target", "RAW_URI", "{raw_uri}e"),
    ("path", "PATH_INFO", "U"),
    ("protocol", "SERVER_PROTOCOL", "H"),
)
_BEHIND = (("referer", "HTTP_REFERER", "f"), ("user_agent", "HTTP_USER_AGENT", "a"))

#: Beyond what JSON escapes: controls of C1, DEL, and Unicode's own line ends.
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029]")


def utc(second: int) -> str:
    """The time of a second since 1970 as the lines show it, without fraction and zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def line(
    source: AtomSource,
    resp: Any,
    environ: Mapping[str, Any],
    elapsed: Any,
    atoms: Mapping[str, Any] | None = None,
) -> str:
    """The line of one exchange, without line end.

    `atoms`: what a logger class makes of it, where it has a say.
    """
    get = (lambda name, atom: environ.get(name)) if atoms is None else _from(atoms)
    user = source._get_user(environ) if atoms is None else _known(atoms.get("u"))
    status = ATOMS["s"](source, resp, environ, elapsed) if atoms is None else atoms.get("s")
    sent = getattr(resp, "sent", None) if atoms is None else atoms.get("B")
    duration = ATOMS["L"](source, resp, environ, elapsed) if atoms is None else atoms.get("L")
    moment = time.time()
    parts = [f'{{"time":"{utc(int(moment))}.{int(moment % 1 * 1000):03d}Z"']
    for field, name, atom in _BEFORE:
        value = user if name is None else get(name, atom)
        parts.append(f'"{field}":{_string(value) if field != "user" else _user(value)}')
    parts.append(f'"status":{_number(status)}')
    parts.append(f'"bytes":{_number(sent)}')
    parts.append(f'"duration":{_number(duration)}')
    parts += [f'"{field}":{_string(get(name, atom))}' for field, name, atom in _BEHIND]
    parts.append(f'"pid":{os.getpid()}')
    if atoms is not None:
        parts += [
            f"{_string(key)}:{_any(value)}"
            for key, value in atoms.items()
            if key not in ATOMS and not key.startswith("{")
        ]
    return ",".join(parts) + "}"


def _from(atoms: Mapping[str, Any]) -> Any:
    return lambda name, atom: atoms.get(atom)


def _known(value: Any) -> Any:
    return None if value == MISSING else value


def _user(value: Any) -> str:
    return _quoted(str(value)) if value else "null"


def _string(value: Any) -> str:
    if value is None:
        return "null"
    text = value if isinstance(value, str) else str(value)
    return "null" if text == MISSING else _quoted(text)


def _quoted(text: str) -> str:
    if not text.isascii():
        text = _undisguised(text)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", _encode(text))


_encode = json.JSONEncoder(ensure_ascii=False).encode


def _undisguised(text: str) -> str:
    """An environ's strings are bytes in disguise (PEP 3333): UTF-8 is shown as what it means."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        # A lone surrogate has no place in UTF-8.
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _number(value: Any) -> str:
    text = str(value)
    return text if re.fullmatch(r"\d+(\.\d+)?", text) else "null"


def _any(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value) if value == value else "null"
    return _string(value)
