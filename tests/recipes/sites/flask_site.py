"""A Flask site: as an object, and made by a function."""

import os

from flask import Flask, jsonify, request


def create_app(environment: str = "development", **settings: object) -> Flask:
    made = Flask(__name__)
    made.config.update(settings, ENVIRONMENT=environment)

    @made.get("/")
    def hello() -> str:
        return f"hello from Flask in {made.config['ENVIRONMENT']}"

    @made.get("/seen")
    def seen() -> object:
        return jsonify(address=request.remote_addr, scheme=request.scheme, pid=os.getpid())

    return made


app = create_app()
