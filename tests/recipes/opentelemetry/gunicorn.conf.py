"""Batches are sent by a thread, and threads do not survive a fork: one for each worker."""

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

workers = 2


def post_fork(server, worker):
    server.log.info("Worker spawned (pid: %s)", worker.pid)
    resource = Resource.create({"service.name": "shop", "worker": worker.pid})
    trace.set_tracer_provider(TracerProvider(resource=resource))
    processor = BatchSpanProcessor(ConsoleSpanExporter())
    trace.get_tracer_provider().add_span_processor(processor)


def worker_exit(server, worker):
    trace.get_tracer_provider().shutdown()
