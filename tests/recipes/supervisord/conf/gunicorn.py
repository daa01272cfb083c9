import os

_here = os.path.dirname(os.path.abspath(__file__))

workers = 2
proc_name = "site"
chdir = os.path.dirname(_here)
pythonpath = _here
pidfile = os.path.join(chdir, "site.pid")
errorlog = os.path.join(chdir, "error.log")
accesslog = os.path.join(chdir, "access.log")
capture_output = True
