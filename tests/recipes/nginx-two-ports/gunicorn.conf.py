import os

# For the proxy, and for whoever looks after the machine.
bind = [f"127.0.0.1:{os.environ['PORT']}", "unix:admin.sock"]
keepalive = 65
limit_request_line = 0
sendfile = True
