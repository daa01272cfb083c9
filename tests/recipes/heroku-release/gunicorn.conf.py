# The router ends a request after 30 s and a dyno gets 30 s to stop.
import os

bind = f":{os.environ['PORT']}"
timeout = 29
graceful_timeout = 25
workers = os.environ.get("WEB_CONCURRENCY", "1")
worker_class = os.environ.get("WORKER_CLASS", "sync")
forwarded_allow_ips = "*"
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}
access_log_format = '%(h)s "%(r)s" %(s)s %(b)s %(L)s request_id=%({x-request-id}i)s'
accesslog = "-"
