"""An app with one span a request."""

from opentelemetry import trace


def app(environ, start_response):
    with trace.get_tracer(__name__).start_as_current_span("answer"):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]
