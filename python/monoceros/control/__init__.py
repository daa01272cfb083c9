"""The control interface: what an operator's commands are, on the wire and for people.

The master listens at a unix socket (`monoceros.arbiter.control`), `monocerosctl` speaks to it.

frames      the wire: lengths and JSON
commands    the table of commands, and what a line of words means
place       where the socket is
tables      answers for people
client      a connection, for programs
command     the command `monocerosctl`

Rules:
- The protocol is that of Gunicorn's control interface, so that its client works with this server
  and this client with its server.
- Nothing here knows the arbiter; `monoceros.arbiter.answers` has what the commands do.
"""
