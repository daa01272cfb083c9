"""The package `gunicorn`, by Monoceros: imports of it, and of everything in it, find the package
`monoceros.compat` instead. Raises ImportError when a real Gunicorn is installed in the same place.
"""

from pathlib import Path

from monoceros import compat

if complaint := compat.conflict(Path(__file__).parent):
    raise ImportError(complaint, name=__name__)

# Puts the real package in the place of this one, which nobody sees again.
compat.install()
