"""An app made by PasteDeploy."""

from plain_site import application


def make(global_conf, **settings):
    return application
