# stream { proxy_protocol on; }
proxy_protocol = True
proxy_allow_ips = "127.0.0.1"
forwarder_headers = "SCRIPT_NAME,PATH_INFO"
header_map = "drop"
