"""An app that counts, and shows what all workers have counted."""

from prometheus_client import CollectorRegistry, Counter, generate_latest, multiprocess

REQUESTS = Counter("site_requests_total", "Requests")


def app(environ, start_response):
    if environ["PATH_INFO"] == "/metrics":
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
        body = generate_latest(registry)
    else:
        REQUESTS.inc()
        body = b"hello"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]
