"""Configuration: the table of settings, their values, and the sources they are read from."""

from monoceros.config.config import Config, make_settings
from monoceros.config.setting import KNOWN_SETTINGS, Setting, Surroundings
from monoceros.config.settings.logs import AccessLogFormat
from monoceros.config.validators import (
    validate_bool,
    validate_callable,
    validate_chdir,
    validate_class,
    validate_dict,
    validate_list_string,
    validate_pos_int,
    validate_post_request,
    validate_string,
)

__all__ = [
    "KNOWN_SETTINGS",
    "AccessLogFormat",
    "Config",
    "Setting",
    "Surroundings",
    "make_settings",
    "validate_bool",
    "validate_callable",
    "validate_chdir",
    "validate_class",
    "validate_dict",
    "validate_list_string",
    "validate_pos_int",
    "validate_post_request",
    "validate_string",
]
