#!/bin/bash
# The start script of many a tutorial: a virtual environment, a unix socket, a name.
NAME=shop
SOCKFILE=run/gunicorn.sock
NUM_WORKERS=3
DJANGO_WSGI_MODULE=django_site.wsgi

RUNDIR=$(dirname $SOCKFILE)
test -d $RUNDIR || mkdir -p $RUNDIR

exec gunicorn ${DJANGO_WSGI_MODULE}:application \
  --name $NAME \
  --workers $NUM_WORKERS \
  --bind=unix:$SOCKFILE \
  --log-level=debug \
  --log-file=-
