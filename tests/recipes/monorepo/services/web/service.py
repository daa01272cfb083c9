"""Needs a library of the repository, and what --env says."""

import os

from shared_library import site

assert os.environ["TITLE"] == "two words"

app = site
