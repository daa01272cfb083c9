"""What belongs to ASGI apps and knows neither sockets nor worker classes.

Light to import: the arbiter and the configuration's check look at apps through `interfaces`.
"""
