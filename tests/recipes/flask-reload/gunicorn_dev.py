# On a developer's machine.
import glob

bind = "localhost:5000"
reload = True
reload_engine = "poll"
reload_extra_files = glob.glob("templates/*.html")
loglevel = "debug"
workers = 1
timeout = 0
