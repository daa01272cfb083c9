"""Stands for an agent's package: it is started in a worker and wraps the app."""

_state = {"registered": False}


def initialize(path, environment):
    _state["config"] = path, environment


def register_application(timeout):
    _state["registered"] = True


def wsgi_application():
    def wrap(app):
        def wrapped(environ, start_response):
            assert _state["registered"], "the agent was not started in this worker"
            return app(environ, start_response)

        return wrapped

    return wrap
