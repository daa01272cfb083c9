# HTTP/2 for browsers, HTTP/1.1 for the others; TLS in the server.
certfile = "server.pem"
keyfile = "server.key"
http_protocols = "h2,h1"
http2_max_concurrent_streams = 100
worker_class = "gthread"
threads = 4
keepalive = 30
