# Reads Django's own settings, and names them to the workers.
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_site.settings")

from django.conf import settings

workers = 1 if settings.DEBUG else 2
loglevel = "debug" if settings.DEBUG else "warning"
raw_env = ["DJANGO_SETTINGS_MODULE=django_site.settings", "DJANGO_SECRET_KEY=from-the-config"]
wsgi_app = "django_site.wsgi:application"
