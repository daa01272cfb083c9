"""Settings that Gunicorn has not got, and a command line that both understand.

The settings that both have are compared one by one in `test_config_contract.py`.
"""

import pytest

from monoceros.config import Config

peer = pytest.importorskip("gunicorn.config", reason="gunicorn is not installed")

#: Settings that Gunicorn has not got, with their flags.
OWN = {
    "boot_timeout": ["--boot-timeout"],
    "request_timeout": ["--request-timeout"],
    "respawn_backoff": ["--respawn-backoff"],
    "header_timeout": ["--header-timeout"],
    "body_timeout": ["--body-timeout"],
    "write_timeout": ["--write-timeout"],
    "body_buffer": ["--body-buffer"],
    "spool_dir": ["--spool-dir"],
    "trusted_proxy_headers": ["--trusted-proxy-headers"],
    "handshake_timeout": ["--handshake-timeout"],
    "sni_certs": ["--sni-cert"],
    "keyfile_password": [],
    "limit_request_body": ["--limit-request-body"],
    "body_min_rate": ["--body-min-rate"],
    "queue_timeout": ["--queue-timeout"],
    "socket_mode": ["--socket-mode"],
    "access_log_json": ["--access-log-json"],
    "interface": ["--interface"],
    "websocket_max_queue": ["--websocket-max-queue"],
    "websocket_ping_interval": ["--websocket-ping-interval"],
    "websocket_ping_timeout": ["--websocket-ping-timeout"],
    "websocket_deflate": ["--no-websocket-deflate"],
}


def test_own_settings_have_their_flags(cfg: Config) -> None:
    assert set(cfg.settings) - set(peer.make_settings()) == set(OWN)
    assert {name: list(cfg.settings[name].cli) for name in OWN} == OWN


def test_both_parse_a_long_command_line_alike(cfg: Config) -> None:
    line = (
        "--log-config a.cfg -b 127.0.0.1:1 -b unix:/x -w 3 -k gthread --threads 4 -t 5 "
        "--keep-alive 6 --limit-request-field_size 100 --access-logfile - --log-file x "
        "--no-sendfile --preload -e A=1 --env B=2 -m 0022 -n shop -p pid --graceful 9 "
        "--worker-conn 7 wsgi:app --pythonpath a,b"
    )
    ours = vars(cfg.parser().parse_args(line.split()))
    theirs = vars(peer.Config(prog="gunicorn").parser().parse_args(line.split()))
    own = dict.fromkeys(name for name, flags in OWN.items() if flags)
    expected = own | {name: theirs[name] for name in ours if name not in OWN}
    assert ours == expected
