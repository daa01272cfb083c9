exec gunicorn --config gunicorn.config.py flask_site:app
