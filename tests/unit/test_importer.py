"""From an app's URI to the app."""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from monoceros.errors import AppImportError
from monoceros.importer import import_app

SOURCE = """
    def application(environ, start_response): ...
    def app(environ, start_response): ...
    class Site:
        def __init__(self, *args, **kwargs):
            self.args, self.kwargs = args, kwargs
            self.handler = application
        def __call__(self, environ, start_response): ...
        def make(self, name):
            return Site(name)
        def none(self):
            return None
    site = Site()
    nothing = None
    number = 3
    def create_app(*args, **kwargs):
        return Site(*args, **kwargs)
    def one(required):
        return Site(required)
    def broken():
        return 1 + ""
    def none():
        return None
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with apps in it, which is the current one and on the module path."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("")
    (tmp_path / "shop" / "wsgi.py").write_text(textwrap.dedent(SOURCE))
    (tmp_path / "failing.py").write_text("import no_such_thing")
    (tmp_path / "raising.py").write_text("raise RuntimeError('no database')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names = ("shop", "shop.wsgi", "failing", "raising")
    yield tmp_path
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("uri", "expression"),
    [
        ("shop.wsgi", "application"),
        ("shop.wsgi:app", "app"),
        ("shop.wsgi: app ", "app"),
        ("shop.wsgi:site", "site"),
        ("shop.wsgi:site.handler", "site.handler"),
    ],
)
def test_names(uri: str, expression: str) -> None:
    found = import_app(uri)
    assert found is eval(expression, vars(sys.modules["shop.wsgi"]))


@pytest.mark.parametrize(
    ("uri", "arguments", "named"),
    [
        ("shop.wsgi:create_app()", (), {}),
        ("shop.wsgi:create_app('a:b', 2, [None, True], {'k': -1.5})", None, {}),
        ("shop.wsgi:create_app(mode='production')", (), {"mode": "production"}),
        ("shop.wsgi:one('x')", ("x",), {}),
        ("shop.wsgi:site.make('x')", ("x",), {}),
    ],
)
def test_factories(uri: str, arguments: tuple[object, ...] | None, named: object) -> None:
    site = import_app(uri)
    if arguments is None:
        arguments = ("a:b", 2, [None, True], {"k": -1.5})
    assert site.args == arguments
    assert site.kwargs == named


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("shop.wsgi:nope", "Failed to find attribute 'nope' in 'shop.wsgi'."),
        ("shop", "Failed to find attribute 'application' in 'shop'."),
        ("shop.wsgi:site.nope", "Failed to find attribute 'nope' in 'shop.wsgi.site'."),
        ("shop.wsgi:nope()", "Failed to find attribute 'nope' in 'shop.wsgi'."),
        ("shop.wsgi:nothing", "Failed to find application object: 'shop.wsgi:nothing' is None."),
        ("shop.wsgi:none()", "Failed to find application object: 'shop.wsgi:none()' is None."),
        ("shop.wsgi:site.none()", "is None."),
        ("shop.wsgi:number", "must be callable, and 'shop.wsgi:number' is 'int'."),
        ("shop.wsgi:number()", "'number' in 'shop.wsgi' is not callable."),
        ("shop.wsgi:one()", "Failed to call factory 'one' in 'shop.wsgi': one() missing 1"),
        ("shop.wsgi:one(1, 2)", "Failed to call factory 'one' in 'shop.wsgi': one() takes 1"),
        ("shop.wsgi:app[0]", "must be a name or a call of one"),
        ("shop.wsgi:create_app()()", "must be a name or a call of one"),
        ("shop.wsgi:1", "must be a name or a call of one"),
        ("shop.wsgi:a b", "Failed to parse 'a b'"),
        ("shop.wsgi:", "Failed to parse ''"),
        ("shop.wsgi:(", "Failed to parse '('"),
        ("shop.wsgi:a\0", "Failed to parse"),
        ("shop.wsgi:create_app(name)", "Arguments must be literal values"),
        ("shop.wsgi:create_app(1 + f())", "Arguments must be literal values"),
        ("shop.wsgi:create_app(*[1])", "Arguments can not be unpacked"),
        ("shop.wsgi:create_app(**{})", "Arguments can not be unpacked"),
        (":app", "the name of its module is missing"),
        ("", "the name of its module is missing"),
    ],
)
def test_a_bad_uri_is_one_line(uri: str, message: str) -> None:
    with pytest.raises(AppImportError) as caught:
        import_app(uri)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_errors_of_the_apps_own_pass_through() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        import_app("no_such_module:app")
    with pytest.raises(ModuleNotFoundError, match="no_such_thing"):
        import_app("failing:app")
    with pytest.raises(RuntimeError, match="no database"):
        import_app("raising:app")
    with pytest.raises(ImportError, match=r"'\.shop' is no name of a module"):
        import_app(".shop:app")
    with pytest.raises(TypeError, match="unsupported operand"):
        import_app("shop.wsgi:broken()")


@pytest.mark.parametrize(
    ("uri", "meant"),
    [
        ("failing.py", "failing:application"),
        ("./failing.py", "failing:application"),
        ("shop/wsgi.py:app", "shop.wsgi:app"),
    ],
)
def test_the_path_of_a_file_is_no_module(uri: str, meant: str) -> None:
    with pytest.raises(ImportError) as caught:
        import_app(uri)
    assert str(caught.value) == f"Failed to find application, did you mean '{meant}'?"


def test_a_uri_runs_no_code(project: Path) -> None:
    mark = project / "mark"
    for expression in (
        f"create_app(open({str(mark)!r}, 'w'))",
        f"__import__('pathlib').Path({str(mark)!r}).touch()",
        f"[open({str(mark)!r}, 'w')]",
    ):
        with pytest.raises(AppImportError):
            import_app(f"shop.wsgi:{expression}")
    assert not mark.exists()
