"""An app on Tornado's own API."""

import asyncio
import os
from typing import Any

import events
import tornado.ioloop
import tornado.web
import tornado.websocket

#: Apps do this when they are imported.
tornado.ioloop.IOLoop.current().add_callback(events.note, "callback-of-import")


class Page(tornado.web.RequestHandler):
    async def get(self, path: str) -> None:
        if path == "sleep":
            events.note("sleeping")
            await asyncio.sleep(float(self.get_argument("seconds")))
        if path == "block":
            import time

            events.note("holding")
            time.sleep(float(self.get_argument("seconds")))
        if path == "pieces":
            for number in range(5):
                self.write(f"{number}\n")
                await self.flush()
                await asyncio.sleep(0.02)
            return
        if path == "fail":
            raise RuntimeError("as asked for")
        self.write("tornado" if path != "pid" else str(os.getpid()))

    async def post(self, path: str) -> None:
        self.write(self.request.body)


class Echo(tornado.websocket.WebSocketHandler):
    def on_message(self, message: Any) -> None:
        self.write_message(message)


app = tornado.web.Application([(r"/socket", Echo), (r"/(.*)", Page)])
