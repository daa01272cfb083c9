"""A Django project as small as it gets."""

import os

DEBUG = False
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "for a test only")
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "django_site.urls"
USE_X_FORWARDED_HOST = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
