"""An app whose import takes as long as that of a site of some size."""

import time

from subjects import generation as application

__all__ = ["application"]

#: Seconds.
IMPORT = 1.0

time.sleep(IMPORT)
