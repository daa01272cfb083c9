"""The operator's own logging configuration: `logconfig_dict`, `logconfig_json`, `logconfig`.

One of them counts, in this order. The dictionary and the JSON file replace whole top-level keys
of CONFIG_DEFAULTS; the ini file finds CONFIG_DEFAULTS, `__file__` and `here` as defaults.
"""

import io
import json
import logging.config
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from monoceros.errors import ConfigError
from monoceros.logging.transaction import sheltered_handlers

#: What a configuration starts from; existing configuration files build on these names.
CONFIG_DEFAULTS: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {"level": "INFO", "handlers": ["console"]},
    "loggers": {
        "gunicorn.error": {
            "level": "INFO",
            "handlers": ["error_console"],
            "propagate": True,
            "qualname": "gunicorn.error",
        },
        "gunicorn.access": {
            "level": "INFO",
            "handlers": ["console"],
            "propagate": True,
            "qualname": "gunicorn.access",
        },
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "generic",
            "stream": "ext://sys.stdout",
        },
        "error_console": {
            "class": "logging.StreamHandler",
            "formatter": "generic",
            "stream": "ext://sys.stderr",
        },
    },
    "formatters": {
        "generic": {
            "format": "%(asctime)s [%(process)d] [%(levelname)s] %(message)s",
            "datefmt": "[%Y-%m-%d %H:%M:%S %z]",
            "class": "logging.Formatter",
        }
    },
}


def is_configured(cfg: Any) -> bool:
    """True when the operator brings a logging configuration."""
    return bool(cfg.logconfig_dict or cfg.logconfig_json or cfg.logconfig)


def apply(cfg: Any) -> None:
    """Put the operator's configuration in force; nothing when there is none.

    Raises ConfigError, and then logging may be half changed: call it inside a transaction.
    """
    if cfg.logconfig_dict:
        _apply_mapping(cfg.logconfig_dict, "logconfig_dict")
    elif cfg.logconfig_json:
        _apply_json(cfg.logconfig_json)
    elif cfg.logconfig:
        _apply_ini(cfg.logconfig)


def _apply_json(path: str) -> None:
    try:
        with Path(path).open(encoding="utf-8") as file:
            content = json.load(file)
    except OSError as error:
        raise _unreadable("logconfig_json", path, error) from error
    except ValueError as error:
        raise ConfigError(f"logconfig_json: {path!r} is not valid JSON: {error}") from error
    _apply_mapping(content, f"logconfig_json: {path!r}")


def _apply_mapping(content: Any, origin: str) -> None:
    if not isinstance(content, dict):
        raise ConfigError(f"{origin}: a mapping is needed, not {type(content).__name__}")
    # A copy, because the standard library takes entries out of what it is given.
    merged = _copy({**CONFIG_DEFAULTS, **content})
    # An incremental configuration changes existing handlers, so it must see them.
    shelter = nullcontext() if merged.get("incremental") else sheltered_handlers()
    try:
        with shelter:
            logging.config.dictConfig(merged)
    except Exception as error:
        raise _refused(origin, error) from error


def _apply_ini(path: str) -> None:
    try:
        content = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable("logconfig", path, error) from error
    absolute = Path(path).absolute()
    defaults = {**CONFIG_DEFAULTS, "__file__": str(absolute), "here": str(absolute.parent)}
    try:
        with sheltered_handlers():
            logging.config.fileConfig(
                io.StringIO(content), defaults=defaults, disable_existing_loggers=False
            )
    except Exception as error:
        raise _refused(f"logconfig: {path!r}", error) from error


def _unreadable(setting: str, path: str, error: Exception) -> ConfigError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return ConfigError(
        f"{setting}: log configuration {path!r} cannot be read: {reason}. "
        f"Correct the path (it counts from {str(Path.cwd())!r}) or the file's permissions"
    )


def _refused(origin: str, error: Exception) -> ConfigError:
    """The logging module tells the true reason in the cause: show both."""
    reason = str(error) or type(error).__name__
    if isinstance(error, KeyError):
        reason = f"section or entry {reason} is missing"
    cause = error.__cause__
    if cause is not None and str(cause) and str(cause) not in reason:
        reason = f"{reason}: {cause}"
    return ConfigError(f"{origin}: not a usable logging configuration: {reason}")


def _copy(value: Any) -> Any:
    """Copy the containers; what they hold (streams, filters, callables) is shared."""
    if type(value) is dict:
        return {key: _copy(item) for key, item in value.items()}
    if type(value) is list:
        return [_copy(item) for item in value]
    return value
