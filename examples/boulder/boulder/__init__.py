"""The site of Boulder Python, a meetup."""

import os
import secrets
from pathlib import Path

from flask import Flask

from boulder import pages, proposals

ROOT = Path(__file__).resolve().parent.parent

#: A proposal is a few kilobytes of text; nothing that this site accepts is larger.
LARGEST_FORM = 64 * 1024


def create_app(instance: str | os.PathLike[str] | None = None) -> Flask:
    """Build the site.

    `instance` is the folder for what the site keeps: proposals and the key that signs sessions.
    Without it, the environment's BOULDER_INSTANCE, and without that `instance/` beside wsgi.py.
    """
    folder = Path(instance or os.environ.get("BOULDER_INSTANCE") or ROOT / "instance").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    app = Flask(__name__, instance_path=str(folder))
    app.config.from_mapping(
        SECRET_KEY=os.environ.get("SECRET_KEY") or shared_key(folder / "secret.key"),
        PROPOSALS=folder / "proposals.sqlite",
        MAX_CONTENT_LENGTH=LARGEST_FORM,
        SESSION_COOKIE_SAMESITE="Lax",
    )
    proposals.create(app.config["PROPOSALS"])
    app.teardown_appcontext(proposals.close)
    app.register_blueprint(pages.pages)
    app.register_error_handler(404, pages.not_found)
    app.register_error_handler(500, pages.failed)
    return app


def shared_key(path: Path) -> str:
    """The key that signs sessions: made once, the same in every worker process.

    Workers may start at the same moment. A complete file is linked into place, so that exactly
    one of them names the key and no other reads half of it.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    try:
        draft.write_text(secrets.token_hex(32))
        path.hardlink_to(draft)
    except FileExistsError:
        pass  # Another process was first; its key holds.
    finally:
        draft.unlink()
    return path.read_text()
