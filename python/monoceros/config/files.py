"""Config files: Python whose module-level names are settings.

- Every reading runs the file's present text: no bytecode cache stands between, because a file
  that is edited twice within a second looks unchanged to it, and a reload must see the edit.
- A file runs as the module ``__config__``; ``python:MODULE`` runs under its own name.
- What a file assigns and no setting is called is reported with the nearest name, for that is how
  typing errors show. Names that begin with "_", names that the file itself reads, constants in
  capitals, modules, classes and functions are the file's own business, unless a hook was probably
  meant.
"""

import ast
import importlib.machinery
import importlib.util
import inspect
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monoceros.config.config import Config
from monoceros.config.not_yet import NOT_YET
from monoceros.config.validators import nearest
from monoceros.errors import ConfigError, ConfigFileError

MODULE_NAME = "__config__"

#: A config file can not change where the configuration is read from.
_WITHOUT_EFFECT = frozenset({"config"})

#: Settings that share their name with a function that config files import.
_HELPERS = frozenset({"reload"})


def load_config_file(config: Config, location: str) -> dict[str, Any]:
    """Read the config file at `location` into `config`; its names, as it has left them.

    location: PATH, file:PATH or python:MODULE.

    Raises ConfigError when there is no such file, it cannot be read, or a value in it cannot be,
    and ConfigFileError when its own code fails.
    """
    module = _run_location(location)
    _apply(config, module, location)
    return vars(module)


def read_config_file(location: str) -> dict[str, Any]:
    """The names of a config file, without an effect. Raises as `load_config_file`."""
    return vars(_run_location(location))


def _run_location(location: str) -> types.ModuleType:
    if location.startswith("python:"):
        return _run_module(location.removeprefix("python:"))
    return _run_file(location.removeprefix("file:"))


def _run_file(location: str) -> types.ModuleType:
    path = Path(location)
    if not path.exists():
        raise ConfigError(f"config file {location!r} doesn't exist")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"config file {location!r} can't be read: {error.strerror}") from error
    loader: Any
    if path.suffix == ".pyc":
        loader = importlib.machinery.SourcelessFileLoader(MODULE_NAME, str(path))
    else:
        loader = importlib.machinery.SourceFileLoader(MODULE_NAME, str(path))
    spec = importlib.util.spec_from_file_location(MODULE_NAME, str(path.absolute()), loader=loader)
    assert spec is not None  # it is None only where the loader has to be guessed
    module = importlib.util.module_from_spec(spec)
    if path.suffix == ".pyc":
        return _run(module, location, lambda: loader.get_code(MODULE_NAME))
    module.__config_source__ = content  # type: ignore[attr-defined]
    return _run(module, location, lambda: compile(content, str(path), "exec", dont_inherit=True))


def _run_module(name: str) -> types.ModuleType:
    importlib.invalidate_caches()
    location = f"python:{name}"
    # Its parents are imported while it is looked for; the module itself must be found anew.
    former = sys.modules.pop(name, None)
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        _restore(name, former)
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(f"config module {name!r} not found") from error
        raise ConfigFileError(f"Failed to read config file: {location}") from error
    except Exception as error:
        _restore(name, former)
        raise ConfigFileError(f"Failed to read config file: {location}") from error
    if spec is None or spec.loader is None:
        _restore(name, former)
        raise ConfigError(f"config module {name!r} not found")
    module = importlib.util.module_from_spec(spec)
    loader: Any = spec.loader
    _restore(name, former)

    def compile_module() -> Any:
        path = spec.origin
        if isinstance(loader, importlib.machinery.SourceFileLoader) and path:
            content = loader.get_data(path)
            module.__config_source__ = content  # type: ignore[attr-defined]
            return compile(content, path, "exec", dont_inherit=True)
        return loader.get_code(name)

    return _run(module, location, compile_module)


def _run(module: types.ModuleType, location: str, load_code: Any) -> types.ModuleType:
    """Run the module's code with the module in its place; the former one returns on failure."""
    name = module.__name__
    former = sys.modules.get(name)
    sys.modules[name] = module
    try:
        exec(load_code(), module.__dict__)
    except BaseException as error:
        _restore(name, former)
        if isinstance(error, Exception):
            raise ConfigFileError(f"Failed to read config file: {location}") from error
        raise
    return module


def _restore(name: str, former: types.ModuleType | None) -> None:
    sys.modules.pop(name, None)
    if former is not None:
        sys.modules[name] = former


def _apply(config: Config, module: types.ModuleType, location: str) -> None:
    values = vars(module)
    for name, value in values.items():
        if name in _WITHOUT_EFFECT or isinstance(value, types.ModuleType):
            continue
        if name in NOT_YET and not NOT_YET[name].hook and _is_code(value):
            continue  # a helper that happens to bear the name, such as importlib.reload
        if name in _HELPERS and _is_code(value):
            continue
        if name not in config.settings and name not in NOT_YET:
            continue
        try:
            config.set(name, value)
        except (ConfigError, TypeError, ValueError) as error:
            reason = str(error).removeprefix(f"{name}: ")
            raise ConfigError(
                f"Invalid value for {name}: {_shorten(value)} in config file {location}: {reason}"
            ) from error
    source = values.get("__config_source__")
    if source is not None:
        del values["__config_source__"]
        _report_unknown(config, values, ast.parse(source), location)


def _report_unknown(
    config: Config, values: dict[str, Any], tree: ast.Module, location: str
) -> None:
    hooks = [
        name for name, setting in config.settings.items() if setting.section == "Server Hooks"
    ] + [entry.name for entry in NOT_YET.values() if entry.hook]
    known = [*config.settings, *NOT_YET]
    read = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    for name in dict.fromkeys(_assigned_names(tree.body)):
        if name.startswith("_") or name not in values or name in known or name in read:
            continue
        value = values[name]
        if callable(value):
            near = nearest(name, hooks, cutoff=0.8)
            if near is None or inspect.isclass(value):
                continue
        elif _is_data(value):
            near = nearest(name, known)
            if near is None and name.isupper():
                continue
        else:
            continue
        hint = f"; did you mean {near!r}?" if near else "; begin the names of helpers with '_'"
        config.warn(f"config file {location}: no setting is called {name!r}{hint}")


def _assigned_names(body: list[ast.stmt]) -> Iterator[str]:
    """The names that statements of a module assign or define; not those that they import."""
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                for target in targets:
                    yield from _target_names(target)
            case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
                yield from _target_names(target)
            case ast.ClassDef():
                pass
            case _:
                for field in ("body", "orelse", "handlers", "finalbody", "cases"):
                    yield from _assigned_names(getattr(statement, field, []))


def _target_names(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, (ast.Tuple, ast.List)):
        for element in target.elts:
            yield from _target_names(element)


def _is_data(value: Any) -> bool:
    return value is None or isinstance(
        value, (str, bytes, bool, int, float, list, tuple, dict, set, frozenset)
    )


def _is_code(value: Any) -> bool:
    return inspect.isclass(value) or inspect.isroutine(value)


def _shorten(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
