"""The pages."""

import datetime as dt

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from boulder import proposals, talks

pages = Blueprint("pages", __name__)


@pages.get("/")
def home() -> str:
    """The next evening and its two talks."""
    meetup = talks.next_meetup(dt.date.today())
    return render_template("home.html", meetup=meetup, evening=talks.tonight(meetup))


@pages.get("/talks")
def talk_list() -> str:
    """Every talk."""
    return render_template("talks.html", talks=talks.TALKS)


@pages.get("/talks/<slug>")
def talk(slug: str) -> str:
    """One talk."""
    found = talks.find(slug)
    if found is None:
        abort(404)
    return render_template("talk.html", talk=found)


@pages.get("/propose")
def propose_form() -> str:
    """An empty form, and what others have proposed."""
    return form(proposals.Proposal(), {})


@pages.post("/propose")
def propose() -> Response | tuple[str, int]:
    """Keep a proposal, or say what is wrong with it."""
    proposal = proposals.Proposal.from_form(request.form)
    mistakes = proposal.mistakes()
    if mistakes:
        return form(proposal, mistakes), 422
    proposals.add(proposal)
    flash(f"Thank you, {proposal.speaker}. We have “{proposal.title}” and will write to you.")
    # 303: the browser fetches the page with GET, and reloading it sends nothing twice.
    return redirect(url_for("pages.propose_form"), code=303)


@pages.get("/about")
def about() -> str:
    """Who we are."""
    return render_template("about.html")


@pages.get("/broken")
def broken() -> str:
    """Fail, to show what a failing page does to its visitor and to the log."""
    raise RuntimeError("this page is broken on purpose")


def form(proposal: proposals.Proposal, mistakes: dict[str, str]) -> str:
    """The page with the form, filled in."""
    return render_template(
        "propose.html",
        proposal=proposal,
        mistakes=mistakes,
        levels=proposals.LEVELS,
        proposed=proposals.titles(),
    )


def not_found(_error: HTTPException) -> tuple[str, int]:
    """The page for an address that leads nowhere."""
    return render_template("error.html", title="Not here", text="No page has this address."), 404


def failed(_error: HTTPException) -> tuple[str, int]:
    """The page for a request that failed; Flask has logged why."""
    text = "Something went wrong on our side. It has been noted."
    return render_template("error.html", title="That failed", text=text), 500
