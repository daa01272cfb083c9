"""`gunicorn.config`: settings, their values, and what makes values of texts.

The classes of settings are found under Gunicorn's names too (``AccessLogFormat.default``).
"""

from typing import Any

from monoceros.app import find_default_config_file
from monoceros.config import KNOWN_SETTINGS as KNOWN_SETTINGS
from monoceros.config import Config as Config
from monoceros.config import Setting as Setting
from monoceros.config import make_settings as make_settings
from monoceros.config.not_yet import NOT_YET
from monoceros.config.settings.logs import AccessLogFormat as AccessLogFormat
from monoceros.config.validators import auto_int as _auto_int
from monoceros.config.validators import validate_bool as validate_bool
from monoceros.config.validators import validate_callable as validate_callable
from monoceros.config.validators import validate_chdir as validate_chdir
from monoceros.config.validators import validate_class as validate_class
from monoceros.config.validators import validate_csv as validate_string_to_list
from monoceros.config.validators import validate_dict as validate_dict
from monoceros.config.validators import validate_group as validate_group
from monoceros.config.validators import validate_list_string as validate_list_string
from monoceros.config.validators import validate_networks as validate_string_to_addr_list
from monoceros.config.validators import validate_pos_int as validate_pos_int
from monoceros.config.validators import validate_post_request as validate_post_request
from monoceros.config.validators import validate_ssl_version as validate_ssl_version
from monoceros.config.validators import validate_string as validate_string
from monoceros.config.validators import validate_user as validate_user

__all__ = [
    "KNOWN_SETTINGS",
    "AccessLogFormat",
    "Config",
    "Setting",
    "SettingMeta",
    "auto_int",
    "get_default_config_file",
    "make_settings",
    "validate_bool",
    "validate_callable",
    "validate_chdir",
    "validate_class",
    "validate_dict",
    "validate_file_exists",
    "validate_group",
    "validate_list_string",
    "validate_pos_int",
    "validate_post_request",
    "validate_ssl_version",
    "validate_string",
    "validate_string_to_addr_list",
    "validate_string_to_list",
    "validate_user",
]

#: The class of settings' classes, which register by themselves here.
SettingMeta = type

#: Classes of settings whose names do not tell the setting.
_CLASS_NAMES = {
    "ConfigFile": "config",
    "WorkerThreads": "threads",
    "ConfigCheck": "check_config",
    "Env": "raw_env",
    "SecureSchemeHeader": "secure_scheme_headers",
    "ProxyAllowFrom": "proxy_allow_ips",
    "NumWorkersChanged": "nworkers_changed",
    "NewSSLContext": "ssl_context",
    "SyslogTo": "syslog_addr",
    "BacklogMetric": "enable_backlog_metric",
    "UWSGIAllowFrom": "uwsgi_allow_ips",
    "PasteGlobalConf": "raw_paste_global_conf",
}


def auto_int(_: Any, text: str) -> int:
    """The integer that a text means, octal where it begins with 0."""
    return _auto_int(text)


def validate_file_exists(value: Any) -> str | None:
    """None, or the name of a file that is there. Raises ValueError."""
    from pathlib import Path

    name = validate_string(value)
    if name is not None and not Path(name).exists():
        raise ValueError(f"File {name} does not exist.")
    return name


def get_default_config_file() -> str | None:
    """The config file of the current folder, None when it has none."""
    return find_default_config_file()


def __getattr__(name: str) -> Any:
    setting = _CLASS_NAMES.get(name)
    wanted = (setting or name).replace("_", "").lower()
    for known in KNOWN_SETTINGS:
        if wanted == known.name.replace("_", ""):
            return known
    for missing in NOT_YET:
        if wanted == missing.replace("_", ""):
            raise ImportError(f"this release of Monoceros has no setting {missing}", name=__name__)
    raise AttributeError(f"module 'gunicorn.config' has no attribute {name!r}")
