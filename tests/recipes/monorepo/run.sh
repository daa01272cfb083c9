#!/bin/sh
exec gunicorn --chdir services/web --pythonpath '../../libs' -e STAGE=monorepo -e "TITLE=two words" \
    service:app --limit-request-field_size 4094 --worker-connections 100
