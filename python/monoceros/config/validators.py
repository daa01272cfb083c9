"""What a setting's value may be.

A validator takes any value, from whatever source, and returns the value to keep. It raises
TypeError for a value of the wrong kind and ValueError for one of the right kind that cannot be;
the text says what is wrong with the value and leaves it to `Setting.set` to name the setting.
The names are Gunicorn's where Gunicorn has such a validator: extensions import them.
"""

import difflib
import functools
import importlib
import inspect
import ipaddress
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from monoceros.errors import ConfigError
from monoceros.privileges import group_id, user_id

#: From the least to the most severe; the order in which messages name them.
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


def validate_bool(value: Any) -> bool | None:
    """None, a bool, or the words true and false in any case."""
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise TypeError(f"must be true or false, not {value!r}")
    word = value.strip().lower()
    if word not in ("true", "false"):
        raise ValueError(f"must be true or false, not {value!r}")
    return word == "true"


def validate_dict(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"must be a dict, not {value!r}")
    return value


def validate_pos_int(value: Any) -> int:
    """A whole number of 0 or more; text may be written as Python writes integers (10, 0x10)."""
    if isinstance(value, str):
        try:
            number = int(value, 0)
        except ValueError:
            raise ValueError(f"must be a whole number, not {value!r}") from None
    elif isinstance(value, int):
        number = int(value)
    else:
        raise TypeError(f"must be a whole number, not {value!r}")
    if number < 0:
        raise ValueError(f"must be 0 or more, not {number}")
    return number


def validate_mode(value: Any) -> int | None:
    """None, or permission bits; text is octal with or without a leading 0 (660, 0660, 0o660)."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = int(value.strip().lower().removeprefix("0o"), 8)
        except ValueError:
            raise ValueError(f"must be permissions such as 0660, not {value!r}") from None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"must be permissions such as 0o660, not {value!r}")
    if not 0 <= value <= 0o777:
        raise ValueError(f"must be permissions of at most 0o777, not {value:#o}")
    return value


def validate_seconds(value: Any) -> int | float:
    """A duration of 0 or more seconds, whole or not."""
    if isinstance(value, str):
        try:
            value = seconds(value)
        except ValueError:
            raise ValueError(f"must be a number of seconds, not {value!r}") from None
    if not isinstance(value, (int, float)):
        raise TypeError(f"must be a number of seconds, not {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"must be a finite number of seconds, not {value!r}")
    if value < 0:
        raise ValueError(f"must be 0 or more seconds, not {value!r}")
    return value


def validate_string(value: Any) -> str | None:
    """None or text; surrounding white space is dropped."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"must be text, not {value!r}")
    return value.strip()


class Secret:
    """Text that is not shown: whoever prints the configuration prints no pass phrase."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "(set, not shown)"


def validate_secret(value: Any) -> Secret | None:
    """None or text, with its white space; kept out of sight."""
    if value is None or isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise TypeError("must be text")
    return Secret(value)


#: Names of what the module ssl calls CERT_NONE and so on, by number.
_CERT_REQS = ("CERT_NONE", "CERT_OPTIONAL", "CERT_REQUIRED")


def validate_cert_reqs(value: Any) -> int:
    """0, 1 or 2, or the names that the module ssl has for them."""
    if isinstance(value, str) and value.strip().rpartition(".")[2] in _CERT_REQS:
        return _CERT_REQS.index(value.strip().rpartition(".")[2])
    number = validate_pos_int(value)
    if number >= len(_CERT_REQS):
        raise ValueError(f"must be 0 (no), 1 (optional) or 2 (required), not {value!r}")
    return number


#: The numbers of TLS 1.2 and 1.3 in `ssl.TLSVersion`.
TLS_1_2, TLS_1_3 = 0x0303, 0x0304

#: What a lowest version of TLS may be called: `ssl.PROTOCOL_*`, `ssl.TLSVersion.*`.
_TLS_FLOORS = {
    **dict.fromkeys(("SSLV2", "SSLV3", "SSLV23", "TLS", "TLS_SERVER", "TLS_CLIENT"), TLS_1_2),
    **dict.fromkeys(("TLSV1", "TLSV1_0", "TLSV1_1", "TLSV1_2"), TLS_1_2),
    "TLSV1_3": TLS_1_3,
}

#: Numbers of `ssl.PROTOCOL_*` and `ssl.TLSVersion`; None of the former means TLS 1.3.
_TLS_NUMBERS = (0, 1, 2, 3, 4, 5, 16, 17, 0x0300, 0x0301, 0x0302, TLS_1_2, TLS_1_3)


def tls_floor(value: Any) -> int:
    """TLS_1_2 or TLS_1_3; `value` is one that `validate_ssl_version` has accepted."""
    if isinstance(value, str):
        return _TLS_FLOORS[_tls_name(value)]
    return TLS_1_3 if value == TLS_1_3 else TLS_1_2


def _tls_name(text: str) -> str:
    name = text.strip().rpartition("PROTOCOL_")[2].upper().replace(".", "_")
    return name.rpartition("TLSVERSION_")[2]


def validate_ssl_version(value: Any) -> Any:
    """A number or a name from the module ssl, kept as it is; for what it means see `tls_floor`."""
    if isinstance(value, str):
        if _tls_name(value) in _TLS_FLOORS:
            return value.strip()
        try:
            value = int(value, 0)
        except ValueError:
            raise ValueError(f"must be TLSv1_2 or TLSv1_3, not {value!r}") from None
    if not isinstance(value, int):
        raise TypeError(f"must be TLSv1_2 or TLSv1_3, not {value!r}")
    if value not in _TLS_NUMBERS:
        raise ValueError(f"must be TLSv1_2 or TLSv1_3, not {value!r}")
    return value


def validate_list_string(value: Any) -> list[str]:
    """Nothing, one text, or several. The result is always a list of its own."""
    if not value:
        return []
    items: Iterable[Any] = [value] if isinstance(value, str) else value
    if not isinstance(items, Iterable):
        raise TypeError(f"must be a list of text, not {value!r}")
    kept = []
    for item in items:
        text = validate_string(item)
        if text is None:
            raise TypeError("must be a list of text, and holds None")
        kept.append(text)
    return kept


def validate_csv(value: Any) -> list[str]:
    """Text that lists items with commas between, or a list of them."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return validate_list_string(value)


def validate_networks(value: Any) -> list[str]:
    """Like `validate_csv`; each item is an IP address, a network without host bits, or ``*``."""
    items = validate_csv(value)
    for item in items:
        if item == "*":
            continue
        try:
            network = ipaddress.ip_network(item)
            if getattr(network.network_address, "scope_id", None):
                raise ValueError(f"{item!r} names an interface, which an address cannot")
        except ValueError as error:
            raise ValueError(
                f"must list IP addresses, networks such as 10.0.0.0/8, or *: {error}"
            ) from error
    return items


def validate_choice(*words: str) -> Callable[[Any], str]:
    """A validator for text that is one of these words, in any case."""

    def validate(value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError(f"must be one of {', '.join(words)}, not {value!r}")
        word = value.strip().lower()
        if word not in words:
            near = difflib.get_close_matches(word, words, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"must be one of {', '.join(words)}, not {value!r}{hint}")
        return word

    return validate


def validate_environment(value: Any) -> list[str]:
    """A list of NAME=VALUE."""
    items = validate_list_string(value)
    for item in items:
        name, equals, _ = item.partition("=")
        if not equals or not name:
            raise ValueError(f"must be NAME=VALUE, not {item!r}")
        if "\0" in item:
            raise ValueError(f"must not hold a NUL character: {item!r}")
    return items


def validate_class(value: Any) -> Any:
    """A class, a function without parameters that returns one, or text that names one."""
    if inspect.isfunction(value) or inspect.ismethod(value):
        value = value()
    if inspect.isclass(value):
        return value
    text = validate_string(value)
    if not text:
        raise ValueError("must name a class")
    return text


#: Further names that Python's own logging has for levels. Under Gunicorn they meant info.
_LOG_LEVEL_ALIASES = {"warn": "warning", "fatal": "critical"}


def validate_log_level(value: Any) -> str:
    """One of LOG_LEVELS, or Python's other names for some of them, in any case."""
    text = validate_string(value) or ""
    return validate_choice(*LOG_LEVELS)(_LOG_LEVEL_ALIASES.get(text.lower(), text))


def validate_user(value: Any) -> int | None:
    """None, or the id of a user given by number or name."""
    return None if value is None else user_id(_id_text(value))


def validate_group(value: Any) -> int | None:
    """None, or the id of a group given by number or name."""
    return None if value is None else group_id(_id_text(value))


def _id_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"must be a name or a number, not {value!r}")
    return str(value)


def validate_chdir(value: Any) -> str:
    """A folder that exists; a relative one counts from the current folder, which "" is.

    Raises ConfigError when it cannot be entered.
    """
    text = validate_string(value)
    if text is None:
        raise TypeError("must name a folder")
    path = os.path.abspath(text)  # noqa: PTH100 - Path.resolve would follow symbolic links
    if not Path(path).is_dir():
        raise ConfigError(f"can't chdir to {path!r}: there is no such folder")
    if not os.access(path, os.X_OK):
        raise ConfigError(f"can't chdir to {path!r}: permission denied")
    return path


def validate_folder(value: Any) -> str | None:
    """None, or an existing folder that files can be made in; kept absolute.

    Raises ConfigError when it is none.
    """
    text = validate_string(value)
    if not text:
        return None
    path = os.path.abspath(text)  # noqa: PTH100 - Path.resolve would follow symbolic links
    if not Path(path).is_dir():
        raise ConfigError(f"can't use {path!r}: there is no such folder")
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigError(f"can't use {path!r}: permission denied")
    return path


def validate_callable(arity: int) -> Callable[[Any], Callable[..., Any]]:
    """A validator for hooks: what can be called with `arity` positional arguments (-1: any).

    The value may also be the import path of such a callable, as ``package.module.name``.
    """

    def validate(value: Any) -> Callable[..., Any]:
        function = import_callable(value)
        if arity == -1:
            return function
        signature = signature_of(function)
        if signature is not None:
            try:
                signature.bind(*[None] * arity)
            except TypeError:
                raise TypeError(
                    f"must be callable with {count_arguments(arity)}, and "
                    f"{getattr(function, '__qualname__', function)!s} is not"
                ) from None
        return function

    return validate


def validate_post_request(value: Any) -> Callable[..., Any]:
    """A validator for post_request, which may take 2, 3 or 4 positional parameters.

    The result always takes four: worker, req, environ and resp.
    """
    function = import_callable(value)
    signature = signature_of(function)
    if signature is None:
        return function
    accepted = positional_parameters(signature)
    if any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()):
        accepted = 4
    if accepted not in (2, 3, 4):
        raise TypeError(
            f"must be callable with 2, 3 or 4 arguments, and "
            f"{getattr(function, '__qualname__', function)!s} takes {accepted}"
        )
    if accepted == 4:
        return function

    @functools.wraps(function)
    def post_request(worker: Any, req: Any, environ: Any = None, resp: Any = None) -> Any:
        return function(*(worker, req, environ)[:accepted])

    return post_request


def import_callable(value: Any) -> Callable[..., Any]:
    """`value`, or what it names when it is text."""
    if isinstance(value, str):
        module_name, _, name = value.strip().rpartition(".")
        if not module_name:
            raise TypeError(f"must be callable or its import path, not {value!r}")
        try:
            value = getattr(importlib.import_module(module_name), name)
        except (ImportError, AttributeError) as error:
            raise TypeError(f"can't load {value!r}: {error}") from error
    if not callable(value):
        raise TypeError(f"must be callable, not {value!r}")
    return value  # type: ignore[no-any-return]


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """None for the builtins that do not tell."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def positional_parameters(signature: inspect.Signature) -> int:
    return sum(
        p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        for p in signature.parameters.values()
    )


def count_arguments(arity: int) -> str:
    return "1 argument" if arity == 1 else f"{arity} arguments"


def auto_int(text: str) -> int:
    """An integer from the command line, where a leading 0 means octal as in C (0022)."""
    digits = text.strip()
    if len(digits) > 1 and digits.startswith("0") and digits[1:].isdigit():
        return int(digits, 8)
    return int(digits, 0)


def seconds(text: str) -> int | float:
    """A duration from the command line."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def nearest(name: str, known: Sequence[str], cutoff: float = 0.75) -> str | None:
    """The name among `known` that `name` was probably meant to be."""
    found = difflib.get_close_matches(name.lower(), known, n=1, cutoff=cutoff)
    return found[0] if found else None
