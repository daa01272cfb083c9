# Names as they stand in files that nobody ever heard a complaint about.
log_level = "info"
pid_file = "run/site.pid"
worker = 4
accesslog = errorlog = "-"
logfile = "-"
