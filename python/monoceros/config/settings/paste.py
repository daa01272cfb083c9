"""Apps that a PasteDeploy file describes."""

import os
from typing import Any

from monoceros.config.setting import Setting
from monoceros.config.validators import validate_list_string, validate_string

SECTION = "Server Mechanics"


def validate_paste(value: Any) -> str | None:
    """None, or FILE or FILE#NAME, or a URI such as egg:NAME. A relative file counts from the folder
    in which the server was started."""
    text = validate_string(value)
    if not text or ":" in text:
        return text or None
    return os.path.abspath(text)  # noqa: PTH100 - keeps links


class Paste(Setting):
    """Load the app that a PasteDeploy file describes: FILE, or FILE#NAME for one of several.

    When the file configures logging, it is read as `logconfig`, too, unless another configuration
    of logging is named. Needs the package PasteDeploy: ``pip install monoceros[paste]``.
    """

    name = "paste"
    section = SECTION
    cli = ("--paste", "--paster")
    meta = "STRING"
    validator = validate_paste


class RawPasteGlobalConf(Setting):
    r"""A variable for the PasteDeploy file: NAME=VALUE. May be given several times.

    It takes part in the file's interpolation and is passed to its factories. A ``=`` that belongs
    to the name is written ``\=``.
    """

    name = "raw_paste_global_conf"
    section = SECTION
    cli = ("--paste-global",)
    meta = "CONF"
    action = "append"
    validator = validate_list_string
    default: list[str] = []  # noqa: RUF012 - copied by Setting
