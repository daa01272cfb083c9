"""A JSON endpoint as FastAPI's users write it: a parameter, and a model for the answer."""

from fastapi import FastAPI
from pydantic import BaseModel


class Greeting(BaseModel):
    """What is answered."""

    message: str
    name: str
    items: list[int]


async def greet(name: str = "World") -> Greeting:
    """A small document."""
    return Greeting(message="Hello!", name=name, items=[1, 2, 3])


app = FastAPI()
app.add_api_route("/", greet, methods=["GET"], response_model=Greeting)
