"""Switches that let in what the protocol or our strictness forbids. All are off.

Each is a risk wherever something in front reads requests differently. `PERMISSIONS` says which.
"""

from typing import Any, Final

from monoceros.config.setting import Setting
from monoceros.config.validators import validate_bool


class PermitObsoleteFolding(Setting):
    """Accept header values that go on in the next line, with spaces in place of the line's end.

    Headers that say where a request ends, who sends it or where it goes are never folded: they
    are answered with 400 as before.
    """

    name = "permit_obsolete_folding"
    section = "Server Mechanics"
    cli = ("--permit-obsolete-folding",)
    action = "store_true"
    validator = validate_bool
    default = False


class StripHeaderSpaces(Setting):
    """Accept headers with spaces before the colon, and drop the spaces."""

    name = "strip_header_spaces"
    section = "Server Mechanics"
    cli = ("--strip-header-spaces",)
    action = "store_true"
    validator = validate_bool
    default = False


class PermitUnconventionalHttpMethod(Setting):
    """Accept any token as a method: lower case, #, shorter than 3 or longer than 20 characters."""

    name = "permit_unconventional_http_method"
    section = "Server Mechanics"
    cli = ("--permit-unconventional-http-method",)
    action = "store_true"
    validator = validate_bool
    default = False


class PermitUnconventionalHttpVersion(Setting):
    """Accept any HTTP version of two digits: below 1.1 it is read as 1.0, else as 1.1."""

    name = "permit_unconventional_http_version"
    section = "Server Mechanics"
    cli = ("--permit-unconventional-http-version",)
    action = "store_true"
    validator = validate_bool
    default = False


class CasefoldHttpMethod(Setting):
    """Read methods in upper case.

    Without `permit_unconventional_http_method` methods in lower case are refused before.
    """

    name = "casefold_http_method"
    section = "Server Mechanics"
    cli = ("--casefold-http-method",)
    action = "store_true"
    validator = validate_bool
    default = False


#: Setting -> what an operator risks who switches it on.
PERMISSIONS: Final = {
    "permit_obsolete_folding": "a proxy in front may see two headers where this server sees one",
    "strip_header_spaces": "a proxy in front may ignore a header that this server obeys, and so "
    "let one request hide in another",
    "permit_unconventional_http_method": "rules of a proxy in front may not match a method that "
    "this server passes to the app",
    "permit_unconventional_http_version": "a request that is no HTTP/1 is read as if it were",
    "casefold_http_method": "rules of a proxy in front may not match a method that the app sees "
    "in upper case",
}


def warnings(cfg: Any) -> list[str]:
    """A line for each of these switches that is on, for the log."""
    lines = [f"{name} is on: {risk}" for name, risk in PERMISSIONS.items() if getattr(cfg, name)]
    if cfg.casefold_http_method and not cfg.permit_unconventional_http_method:
        lines.append(
            "casefold_http_method has no effect without permit_unconventional_http_method: a "
            "method in lower case is refused before"
        )
    if cfg.header_map == "dangerous":
        lines.append(
            "header_map is 'dangerous': a client can pretend to be a proxy by an underscore in a "
            "header's name, unless the proxy in front removes such headers"
        )
    return lines
