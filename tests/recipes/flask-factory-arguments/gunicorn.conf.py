wsgi_app = "flask_site:create_app('production', GREETING='hi')"
accesslog = "logs/access.log"
errorlog = "logs/error.log"
capture_output = True
