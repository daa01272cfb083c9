"""From the configuration to what workers need for TLS."""

import os
from typing import Any

from monoceros import _core
from monoceros.errors import ConfigError


def open_store(cfg: Any, former: _core.TlsStore | None = None) -> _core.TlsStore | None:
    """Read and check certificates and keys; None where the configuration wants no TLS, and for
    worker classes that bring a TLS of their own.

    Args:
        cfg: the configuration.
        former: what was in use before; its session tickets stay good.

    Raises:
        ConfigError: something cannot be read or used; one line that says what and why.
    """
    if not cfg.is_ssl or not getattr(cfg.worker_class, "uses_engine", False):
        return None
    pairs = [(cfg.certfile, cfg.keyfile or cfg.certfile)]
    pairs += [_split(text) for text in cfg.sni_certs]
    password = cfg.keyfile_password
    try:
        return _core.TlsStore(
            [(_absolute(certificates), _absolute(key)) for certificates, key in pairs],
            password=None if password is None else password.reveal(),
            ca_certs=_absolute(cfg.ca_certs) if cfg.ca_certs else None,
            cert_reqs=cfg.cert_reqs,
            ciphers=cfg.ciphers or None,
            only_tls13=cfg.only_tls13,
            former=former,
        )
    except ValueError as error:
        raise ConfigError(f"TLS: {error}") from error


def _split(text: str) -> tuple[str, str]:
    """CERTFILE:KEYFILE, or one file for both."""
    certificates, colon, key = text.rpartition(":")
    return (certificates, key) if colon else (text, text)


def _absolute(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - Path.resolve would follow symbolic links
