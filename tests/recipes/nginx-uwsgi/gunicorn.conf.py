# uwsgi_pass 127.0.0.1:8000; include uwsgi_params;
protocol = "uwsgi"
uwsgi_allow_ips = "127.0.0.1"
