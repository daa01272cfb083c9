"""A Tornado application."""

import tornado.web


class Hello(tornado.web.RequestHandler):
    def get(self):
        self.write("hello")


app = tornado.web.Application([("/", Hello)])
