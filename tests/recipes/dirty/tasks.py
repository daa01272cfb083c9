"""What the pool does, and the site that asks it."""

from gunicorn.dirty import DirtyApp, get_dirty_client


class Thinker(DirtyApp):
    def greet(self, name):
        return f"hello, {name}"


def app(environ, start_response):
    text = get_dirty_client().execute("tasks:Thinker", "greet", "world")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]
