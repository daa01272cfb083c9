"""An app within the agent's wrapper."""

import agent
from plain_site import application as site

application = agent.wsgi_application()(site)
