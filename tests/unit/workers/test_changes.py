"""From what a hook has changed in a request to its environ."""

from types import SimpleNamespace
from typing import Any

from monoceros.workers.changes import Before, apply


def request(**more: Any) -> Any:
    fields = [("HOST", "a"), ("COOKIE", "x=1"), ("ACCEPT", "text/html"), ("CONTENT-TYPE", "a/b")]
    values = {"method": "GET", "uri": "/a?b", "path": "/a", "query": "b", "scheme": "http"}
    return SimpleNamespace(headers=fields, **(values | more))


def test_nothing_changed_is_nothing() -> None:
    seen = request()
    assert Before(seen).changes(seen) == {}


def test_fields_are_added_replaced_and_taken_away() -> None:
    seen = request()
    before = Before(seen)
    seen.headers[1:] = [
        ("COOKIE", "x=1"),
        ("COOKIE", "y=2"),
        ("content-type", "c/d"),
        ("X-Id", 7),
        ("X-ID", "8"),
    ]
    assert before.changes(seen) == {
        "HTTP_COOKIE": "x=1; y=2",
        "HTTP_ACCEPT": None,
        "CONTENT_TYPE": "c/d",
        "HTTP_X_ID": "7,8",
    }


def test_a_new_list_counts_as_well() -> None:
    seen = request()
    before = Before(seen)
    seen.headers = [*seen.headers, ("X-A", "1")]
    assert before.changes(seen) == {"HTTP_X_A": "1"}


def test_attributes() -> None:
    seen = request()
    before = Before(seen)
    seen.method, seen.uri, seen.path, seen.query = "POST", "/c", "/c%C3%BC", "d"
    seen.scheme = "https"
    assert before.changes(seen) == {
        "REQUEST_METHOD": "POST",
        "RAW_URI": "/c",
        "PATH_INFO": "/cÃ¼",
        "QUERY_STRING": "d",
        "wsgi.url_scheme": "https",
    }


def test_they_are_put_into_the_environ() -> None:
    environ = {"SCRIPT_NAME": "/app", "PATH_INFO": "/a", "HTTP_OLD": "1", "HTTP_KEPT": "2"}
    apply({"PATH_INFO": "/app/b", "HTTP_OLD": None, "HTTP_NEW": "3", "HTTP_GONE": None}, environ)
    assert environ == {
        "SCRIPT_NAME": "/app",
        "PATH_INFO": "/b",
        "HTTP_KEPT": "2",
        "HTTP_NEW": "3",
    }
