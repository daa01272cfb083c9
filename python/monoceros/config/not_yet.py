"""Gunicorn's settings that this release does not have.

A deployment that sets one of them must hear of it. A value that asks for what the server does
anyway (``daemon = False``) passes without a word. For any other value the table says:

- REFUSED: without effect it would leave the deployment less safe than its operator believes, or
  without an app. The server does not start.
- UNSUPPORTED: a feature is missing. A config file gets a warning, the command line an error.
- HARMLESS: nothing is lost. A warning from either.

A setting that the server learns moves from here to the table of settings.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monoceros.config.validators import auto_int


class Fate(enum.Enum):
    """What becomes of a configuration that sets it."""

    REFUSED = "refused"
    UNSUPPORTED = "unsupported"
    HARMLESS = "harmless"


@dataclass(frozen=True)
class NotYet:
    """One setting of Gunicorn's.

    default: the value that describes what this server does, and what `Config` answers.
    harmless_values: further values that ask for nothing else.
    boolean: the flag has no value. appended: it may be given several times.
    """

    name: str
    fate: Fate
    default: Any = None
    cli: tuple[str, ...] = ()
    harmless_values: tuple[Any, ...] = ()
    boolean: bool = False
    appended: bool = False
    hook: bool = False
    note: str = ""

    def message(self, spelling: str | None = None) -> str:
        """What to tell the operator, who wrote it as `spelling` or by its name."""
        text = f"{spelling or self.name} is not supported by this release"
        if self.fate is not Fate.REFUSED:
            text += " and has no effect"
        return f"{text} ({self.note})" if self.note else text

    def asks_for_nothing(self, value: Any) -> bool:
        """Whether the server does what this value asks for."""
        if value is None or value == "" or value == [] or value == {}:
            return True
        accepted = (self.default, *self.harmless_values)
        if any(value is known or value == known for known in accepted):
            return True
        if isinstance(value, str):
            text = value.strip().lower()
            if text in [str(known).lower() for known in accepted]:
                return True
            if isinstance(self.default, list):
                return [item.strip() for item in text.split(",")] == self.default
            if isinstance(self.default, int):
                try:
                    return auto_int(text) == self.default
                except ValueError:
                    return False
        return False


_NO_HTTP2 = "every connection speaks HTTP/1.1; a proxy in front can speak HTTP/2 to clients"

_R, _U, _H = Fate.REFUSED, Fate.UNSUPPORTED, Fate.HARMLESS

_TABLE: Sequence[NotYet] = (
    # TLS
    NotYet(
        "ssl_context",
        _R,
        hook=True,
        note="TLS is not OpenSSL's here: say what you need with certfile, keyfile, sni_certs, "
        "ca_certs, cert_reqs, ciphers and ssl_version",
    ),
    # HTTP/2
    # Clients that would speak HTTP/2 are offered HTTP/1.1, and take it.
    NotYet(
        "http_protocols",
        _H,
        ["h1"],
        ("--http-protocols",),
        note=_NO_HTTP2,
    ),
    NotYet(
        "http2_cleartext",
        _U,
        "off",
        ("--http2-cleartext",),
        harmless_values=(False,),
        note=_NO_HTTP2,
    ),
    NotYet(
        "http2_max_concurrent_streams",
        _H,
        100,
        ("--http2-max-concurrent-streams",),
        note=_NO_HTTP2,
    ),
    NotYet(
        "http2_initial_window_size", _H, 65535, ("--http2-initial-window-size",), note=_NO_HTTP2
    ),
    NotYet("http2_max_frame_size", _H, 16384, ("--http2-max-frame-size",), note=_NO_HTTP2),
    NotYet(
        "http2_max_header_list_size", _H, 65536, ("--http2-max-header-list-size",), note=_NO_HTTP2
    ),
)

#: By name.
NOT_YET = {entry.name: entry for entry in _TABLE}
