#!/bin/sh
exec gunicorn plain_site:app -D -p site.pid --log-file error.log
