"""`gunicorn.app.pasterapp`: PasteDeploy's configuration files."""

from monoceros.paste_deploy import serve as serve
