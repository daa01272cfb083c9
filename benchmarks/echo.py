"""The closed-loop load of WebSocket messages: echo-load/, on a processor of its own."""

import json
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

import websocket
from load import LoadFailed, Outcome, generate
from programs import ROOT

PROGRAM = ROOT / "target" / "release" / "echo-load"

#: What the messages are made of: the same in every run.
SEED = 6455


@dataclass(frozen=True)
class Echo:
    """Messages of `size` bytes, each sent when the one before has come back."""

    size: int
    deflate: bool = False
    connections: int = 100
    secure: bool = False

    def payload(self) -> bytes:
        """A message: JSON, as most of them are, cut to its size."""
        chance = random.Random(SEED)
        text = ""
        while len(text) < self.size:
            record = {
                "id": chance.randrange(10**6),
                "symbol": "".join(chance.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=4)),
                "price": round(chance.uniform(1, 1000), 2),
                "time": f"2026-11-28T{chance.randrange(24):02}:{chance.randrange(60):02}:07Z",
            }
            text += json.dumps(record) + ","
        return text[: self.size].encode()

    def missing(self) -> str | None:
        """Why there can be no such load; None when there can."""
        if not PROGRAM.exists():
            return f"{PROGRAM.relative_to(ROOT)} is missing; `make bench` builds it"
        return None

    def frame(self, window: int) -> bytes:
        """The message as a client sends it."""
        if self.deflate:
            return websocket.frame(websocket.compress(self.payload(), window), compressed=True)
        return websocket.frame(self.payload())

    def warm(self, port: int, times: int) -> None:
        """Send the message so often over one WebSocket."""
        connection, window = websocket.connect(port, deflate=self.deflate)
        expected = None if self.deflate else self.payload()
        frame = self.frame(window)
        with connection:
            for _ in range(times):
                websocket.exchange(connection, frame, expected)

    def apply(self, port: int, seconds: int, cpu: int) -> Outcome:
        """Run the load for whole seconds. Raises LoadFailed for any error that it met, or when
        what comes back on its first connection is not what was sent."""
        connection, window = websocket.connect(port, deflate=self.deflate)
        connection.close()
        with tempfile.TemporaryDirectory(prefix="bench-echo-") as name:
            folder = Path(name)
            (folder / "upgrade").write_bytes(websocket.upgrade(deflate=self.deflate))
            (folder / "frame").write_bytes(self.frame(window))
            (folder / "payload").write_bytes(self.payload())
            outcome = generate(
                [str(PROGRAM), str(port), str(self.connections), str(seconds), name], seconds, cpu
            )
            self.check((folder / "received").read_bytes())
        return outcome

    def check(self, received: bytes) -> None:
        """Raise LoadFailed unless each message that was received is the one that was sent, and
        is compressed where that was agreed upon: a server that does not compress does less."""
        expected, count = self.payload(), 0
        for message, compressed in websocket.messages(received):
            count += 1
            if message != expected:
                raise LoadFailed(f"answer {count} of the first connection is not what was sent")
            if compressed != self.deflate:
                raise LoadFailed(f"answer {count} is {'' if compressed else 'not '}compressed")
        if not count:
            raise LoadFailed("nothing came back on the first connection")
