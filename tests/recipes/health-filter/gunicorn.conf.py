"""An access log without the probes of the load balancer."""

import logging

from gunicorn import glogging

accesslog = "access.log"


class _NoProbes(logging.Filter):
    def filter(self, record):
        return "kube-probe" not in record.getMessage()


class SiteLogger(glogging.Logger):
    def setup(self, cfg):
        super().setup(cfg)
        self.access_log.addFilter(_NoProbes())


logger_class = SiteLogger
