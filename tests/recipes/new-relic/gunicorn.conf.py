"""The agent has to be started after the fork and before the app is imported."""

import agent

agent.initialize("newrelic.ini", "staging")

workers = 2
preload_app = False


def post_fork(server, worker):
    agent.register_application(timeout=10.0)
