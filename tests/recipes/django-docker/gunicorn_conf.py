# In a container: logs to the streams, the heartbeat in memory, workers that do not get old.
import os

bind = ["0.0.0.0:8000"]
workers = int(os.environ.get("GUNICORN_WORKERS", "2"))
threads = int(os.environ.get("GUNICORN_THREADS", "4"))
worker_class = "gthread"
worker_tmp_dir = "/dev/shm"
max_requests = 1000
max_requests_jitter = 50
accesslog = "-"
errorlog = "-"
forwarded_allow_ips = "*"
