# Behind a proxy that ends TLS and mounts the site below a path.
forwarded_allow_ips = "127.0.0.1,::1,10.0.0.0/8"
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}
raw_env = ["SCRIPT_NAME=/shop"]
limit_request_line = 8190
limit_request_fields = 200
limit_request_field_size = 16380
