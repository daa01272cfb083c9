# proxy_pass http://unix:/run/site/gunicorn.sock
bind = "unix:gunicorn.sock"
umask = 0o007
workers = 2
forwarded_allow_ips = "*"
proxy_allow_ips = "*"
x_forwarded_for_header = "X-Real-IP"
