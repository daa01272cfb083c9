"""What a setting is.

A setting is one subclass of `Setting`: its class attributes are all there is to know about it, and
command line, config file, environment, help, ``--print-config`` and the reference are made from
them. Its docstring is its documentation, the first line of it its help. Defining the subclass is
what adds the setting; nothing else needs to be told. Settings of others that were written for
Gunicorn have their documentation in `desc`.
"""

import copy
import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from monoceros.config.validators import validate_string


class Surroundings(NamedTuple):
    """What defaults may depend on, as it was when the server was started."""

    environ: Mapping[str, str]
    directory: str

    @classmethod
    def current(cls) -> "Surroundings":
        return cls(dict(os.environ), current_directory())


def current_directory() -> str:
    """The current folder, by the name the shell has for it if that leads there.

    A deployment often starts in a symbolic link that is turned to the next release; its name must
    survive, so that a reload sees the new target.
    """
    actual = os.getcwd()  # noqa: PTH109 - a str is wanted
    by_name = os.environ.get("PWD", "")
    try:
        if by_name.startswith("/") and Path(by_name).samefile(actual):
            return by_name
    except OSError:
        pass  # PWD is stale: its folder is gone
    return actual


class Setting:
    """One setting: its description in class attributes, its value in an instance.

    name: the attribute of Config and the name in a config file.
    section: the heading in the help and the reference.
    cli: the flags, () for a setting that has none.
    meta: how the help calls the flag's value.
    action, nargs, const, type: as for argparse; `type` applies to the action "store" only.
    validator: from any value to the value kept, see `validators`.
    default: the value before any source is read, in the form that the validator takes.
    """

    name: str = ""
    section: str = ""
    cli: tuple[str, ...] | list[str] = ()
    meta: str | None = None
    action: str = "store"
    nargs: int | str | None = None
    const: Any = None
    type: Callable[..., Any] | None = None
    validator: Callable[..., Any] = staticmethod(validate_string)
    default: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for attribute in ("validator", "type", "default"):
            function = cls.__dict__.get(attribute)
            if inspect.isfunction(function):
                setattr(cls, attribute, staticmethod(function))
        if cls.name:
            KNOWN_SETTINGS[:] = [known for known in KNOWN_SETTINGS if known.name != cls.name]
            KNOWN_SETTINGS.append(cls)

    def __init__(self, surroundings: Surroundings | None = None) -> None:
        self.default = self.default_in(surroundings or Surroundings.current())
        self.value: Any = None
        self.set(self.default)
        self._initial = self.value

    def default_in(self, surroundings: Surroundings) -> Any:
        """The default in these surroundings; raises ConfigError when they hold nonsense."""
        return copy.copy(self.default)

    def get(self) -> Any:
        return self.value

    def set(self, value: Any) -> None:
        """Validate and keep a value.

        Raises TypeError or ValueError with a text that begins with the setting's name, or
        ConfigError.
        """
        try:
            self.value = self.validator(value)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from error

    @property
    def is_default(self) -> bool:
        """Whether the value is the default one; for hooks, the function that does nothing."""
        return bool(self.value == self._initial)

    @classmethod
    def documentation(cls) -> str:
        """The whole documentation, without indentation."""
        given = inspect.getattr_static(cls, "desc")
        return inspect.cleandoc(given) if isinstance(given, str) else inspect.getdoc(cls) or ""

    @property
    def desc(self) -> str:
        return self.documentation()

    @property
    def short(self) -> str:
        return self.documentation().partition("\n")[0]

    def __repr__(self) -> str:
        return f"<{self.__class__.__module__}.{self.__class__.__name__} value={self.value!r}>"


#: Every setting, in the order of definition. A later one of the same name takes its place.
KNOWN_SETTINGS: list[type[Setting]] = []
