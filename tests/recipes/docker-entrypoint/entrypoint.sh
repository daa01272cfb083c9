#!/bin/sh
set -e
: "${GUNICORN_WORKERS:=2}"
: "${GUNICORN_LOG_LEVEL:=warn}"
export STAGE=container
exec gunicorn plain_site:app --workers="$GUNICORN_WORKERS" --log-level="$GUNICORN_LOG_LEVEL" \
    --access-logfile=- --error-logfile=- --http-parser auto --no-control-socket "$@"
