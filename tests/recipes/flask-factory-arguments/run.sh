#!/bin/sh
mkdir -p logs
exec gunicorn
