# Without a proxy: TLS in the server, as examples show it.
import ssl

certfile = "server.pem"
keyfile = "server.key"
ca_certs = None
cert_reqs = ssl.CERT_NONE
ssl_version = ssl.PROTOCOL_TLS_SERVER
ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
do_handshake_on_connect = True
suppress_ragged_eofs = True
secure_scheme_headers = {}
