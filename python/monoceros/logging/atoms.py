"""The values an access line is made of, and the compiled access log format.

The rules of this module:

- A line is one line: control characters and double quotes that a client put into a value are
  escaped, so that nobody can forge or tear a line with a decoded path or a user name.
- A value that is not there reads "-".
- Only what the format names is computed. Everything else is computed when somebody asks for it.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, Self, SupportsIndex

#: What a missing value reads.
MISSING = "-"

#: Apache's combined format, Gunicorn's default for `access_log_format`.
DEFAULT_ACCESS_FORMAT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'

# Controls of C0 and C1, DEL and Unicode's own line ends would end or repaint a line; the quote
# would end a quoted field.
_ESCAPES: dict[int, str] = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_ESCAPES.update({0x2028: "\\u2028", 0x2029: "\\u2029"})
_ESCAPES.update(str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"'}))


def escape(value: Any) -> Any:
    """Make a value safe inside a quoted field of one line.

    Strings get `"` as `\\"` and control characters as backslash escapes; other types pass.
    """
    if isinstance(value, str) and ('"' in value or not value.isprintable()):
        return value.translate(_ESCAPES)
    return value


class AtomSource(Protocol):
    """What the atoms need from the logger; both are open to be overridden there."""

    def now(self) -> str: ...
    def _get_user(self, environ: Mapping[str, Any]) -> str | None: ...


class SafeAtoms(dict[str, Any]):
    """Atoms ready for the format: escaped, header names in any case, "-" for what is missing."""

    def __init__(self, atoms: Mapping[str, Any]) -> None:
        super().__init__((key, escape(value)) for key, value in atoms.items())

    def __getitem__(self, key: str) -> Any:
        return self.get(key.lower() if key.startswith("{") else key, MISSING)


def _status(resp: Any) -> Any:
    status = resp.status
    if isinstance(status, bytes):
        status = status.decode("latin-1")
    # "200 OK" -> "200"; a number stays what it is.
    return (
        status.strip().split(None, 1)[0] if isinstance(status, str) and status.strip() else status
    )


def _bytes_sent(resp: Any) -> Any:
    return getattr(resp, "sent", None)


def _bytes_sent_or_dash(resp: Any) -> str:
    sent = _bytes_sent(resp)
    return MISSING if sent is None else str(sent)


def _request_line(environ: Mapping[str, Any]) -> str:
    method = environ.get("REQUEST_METHOD", MISSING)
    target = environ.get("RAW_URI", MISSING)
    return f"{method} {target} {environ.get('SERVER_PROTOCOL', MISSING)}"


def _whole_seconds(elapsed: Any) -> int:
    # A timedelta counts days apart; stand-ins for it may have none.
    return int(getattr(elapsed, "days", 0) * 86400 + elapsed.seconds)


#: Atoms that are an environ variable and nothing else.
VARIABLES = {
    "h": "REMOTE_ADDR",
    "m": "REQUEST_METHOD",
    "U": "PATH_INFO",
    "q": "QUERY_STRING",
    "H": "SERVER_PROTOCOL",
    "f": "HTTP_REFERER",
    "a": "HTTP_USER_AGENT",
}

Getter = Callable[[AtomSource, Any, Mapping[str, Any], Any], Any]


def _variable(name: str) -> Getter:
    return lambda source, resp, environ, elapsed: environ.get(name, MISSING)


#: Atom -> how to compute it from (source, response, environ, request time).
ATOMS: dict[str, Getter] = {
    **{atom: _variable(name) for atom, name in VARIABLES.items()},
    "l": lambda source, resp, environ, elapsed: MISSING,
    "u": lambda source, resp, environ, elapsed: source._get_user(environ) or MISSING,
    "t": lambda source, resp, environ, elapsed: source.now(),
    "r": lambda source, resp, environ, elapsed: _request_line(environ),
    "s": lambda source, resp, environ, elapsed: _status(resp),
    "b": lambda source, resp, environ, elapsed: _bytes_sent_or_dash(resp),
    "B": lambda source, resp, environ, elapsed: _bytes_sent(resp),
    "T": lambda source, resp, environ, elapsed: _whole_seconds(elapsed),
    "D": lambda source, resp, environ, elapsed: (
        _whole_seconds(elapsed) * 1_000_000 + elapsed.microseconds
    ),
    "M": lambda source, resp, environ, elapsed: (
        _whole_seconds(elapsed) * 1_000 + elapsed.microseconds // 1_000
    ),
    "L": lambda source, resp, environ, elapsed: (
        f"{_whole_seconds(elapsed)}.{elapsed.microseconds:06d}"
    ),
    "p": lambda source, resp, environ, elapsed: f"<{os.getpid()}>",
}


def _text(value: Any) -> Any:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _pairs(holder: Any) -> Iterable[tuple[Any, Any]]:
    """The headers of a request or response: a list of pairs, a mapping, or what has `.headers`."""
    headers = getattr(holder, "headers", holder)
    items = getattr(headers, "items", None)
    pairs: Iterable[tuple[Any, Any]] = headers if items is None else items()
    return pairs


def _named(holder: Any, kind: str) -> dict[str, Any]:
    return {f"{{{_text(name).lower()}}}{kind}": _text(value) for name, value in _pairs(holder)}


def collect(
    source: AtomSource, resp: Any, req: Any, environ: Mapping[str, Any], elapsed: Any
) -> dict[str, Any]:
    """Every atom of one exchange, unescaped.

    `{name}i` are request headers, `{name}o` response headers, `{name}e` environ variables, the
    names in lower case. Of a repeated header the last one counts.
    """
    atoms = {name: getter(source, resp, environ, elapsed) for name, getter in ATOMS.items()}
    atoms.update(_named(req, "i"))
    atoms.update(_named(resp.headers, "o"))
    atoms.update(_named(environ, "e"))
    return atoms


class LazyAtoms(SafeAtoms):
    """SafeAtoms that compute a value when it is asked for.

    Log records carry them as `record.args`, so custom formatters and filters find every atom
    there while a plain format pays for what it names. The time and the process are taken at once,
    because a record may be formatted later and elsewhere.
    """

    def __init__(
        self, source: AtomSource, resp: Any, req: Any, environ: Mapping[str, Any], elapsed: Any
    ) -> None:
        self._exchange: tuple[AtomSource, Any, Any, Mapping[str, Any], Any] | None
        self._exchange = (source, resp, req, environ, elapsed)
        dict.__setitem__(self, "t", escape(source.now()))
        dict.__setitem__(self, "p", f"<{os.getpid()}>")

    def _fill(self) -> None:
        if self._exchange is None:
            return
        for key, value in collect(*self._exchange).items():
            if not dict.__contains__(self, key):
                dict.__setitem__(self, key, escape(value))
        self._exchange = None

    def __getitem__(self, key: str) -> Any:
        if self._exchange is not None and not dict.__contains__(self, key):
            getter = ATOMS.get(key)
            if getter is None:
                self._fill()
            else:
                source, resp, _, environ, elapsed = self._exchange
                dict.__setitem__(self, key, escape(getter(source, resp, environ, elapsed)))
        return dict.get(self, key.lower() if key.startswith("{") else key, MISSING)

    def __bool__(self) -> bool:
        return True  # the logging module asks; counting would compute everything

    def __contains__(self, key: object) -> bool:
        self._fill()
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self._fill()
        return super().__iter__()

    def __len__(self) -> int:
        self._fill()
        return super().__len__()

    def __eq__(self, other: object) -> bool:
        self._fill()
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        self._fill()
        return super().__repr__()

    def get(self, key: str, default: Any = None) -> Any:
        self._fill()
        return super().get(key, default)

    def keys(self) -> Any:
        self._fill()
        return super().keys()

    def values(self) -> Any:
        self._fill()
        return super().values()

    def items(self) -> Any:
        self._fill()
        return super().items()

    def copy(self) -> dict[str, Any]:
        return dict(self.items())

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        # What another process gets is the plain, complete mapping.
        return SafeAtoms.__new__, (SafeAtoms,), None, None, iter(self.items())


class _Number(int):
    """Stands for any value: every conversion of the % operator takes an integer."""


class _Recorder:
    """Takes the place of the atoms once, to learn which of them a format uses."""

    def __init__(self) -> None:
        self.keys: dict[str, None] = {}
        self.whole = False

    def __getitem__(self, key: str) -> _Number:
        self.keys[key] = None
        return _Number(0)

    def __repr__(self) -> str:
        self.whole = True
        return ""


class AccessFormat:
    """An access log format that knows which atoms it uses.

    Raises ValueError when the text is not a format of the % operator over named values.
    """

    __slots__ = (
        "_atoms",
        "_constants",
        "_environ",
        "_request",
        "_response",
        "_variables",
        "text",
        "whole",
    )

    def __init__(self, text: str) -> None:
        recorder = _Recorder()
        try:
            text % recorder
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(str(error)) from error
        self.text = text
        #: The format prints the atoms as a whole, so that all of them are needed.
        self.whole = recorder.whole
        keys = recorder.keys
        self._variables = tuple((key, VARIABLES[key]) for key in keys if key in VARIABLES)
        computed = ATOMS.keys() - VARIABLES.keys() - {"l"}
        self._atoms = tuple((key, ATOMS[key]) for key in keys if key in computed)
        self._constants = {key: MISSING for key in keys if key not in ATOMS or key == "l"}
        # (name in lower case, key as the format writes it)
        self._request = self._names(keys, "i")
        self._response = self._names(keys, "o")
        self._environ = self._names(keys, "e")

    @classmethod
    def default(cls) -> Self:
        return cls(DEFAULT_ACCESS_FORMAT)

    @staticmethod
    def _names(keys: Iterable[str], kind: str) -> tuple[tuple[str, str], ...]:
        return tuple(
            (key[1:-2].lower(), key)
            for key in keys
            if key.startswith("{") and key[-2:].lower() == "}" + kind
        )

    def line(
        self, source: AtomSource, resp: Any, req: Any, environ: Mapping[str, Any], elapsed: Any
    ) -> str:
        """The access line of one exchange, without line end.

        Raises TypeError or ValueError when a conversion does not fit the type of its value.
        """
        values = self._constants.copy()
        find = environ.get
        for key, name in self._variables:
            value = find(name, MISSING)
            # The same test as in `escape`, without the call: most values need nothing.
            if type(value) is not str or '"' in value or not value.isprintable():
                value = escape(value)
            values[key] = value
        for key, getter in self._atoms:
            values[key] = escape(getter(source, resp, environ, elapsed))
        if self._request:
            _choose(values, self._request, _pairs(req))
        if self._response:
            _choose(values, self._response, _pairs(resp.headers))
        if self._environ:
            _choose(values, self._environ, environ.items())
        return self.text % values


def _choose(
    values: dict[str, Any],
    names: tuple[tuple[str, str], ...],
    pairs: Iterable[tuple[Any, Any]],
) -> None:
    """Fill in the named values; of a repeated name the last one counts."""
    found = {_text(name).lower(): value for name, value in pairs}
    for name, key in names:
        if name in found:
            values[key] = escape(_text(found[name]))
