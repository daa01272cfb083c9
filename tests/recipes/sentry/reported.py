"""An app within Sentry's middleware."""

from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware

from plain_site import application

app = SentryWsgiMiddleware(application)
