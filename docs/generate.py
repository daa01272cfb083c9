"""Makes the pages that stand in the code, or tells which of them are stale.

Called by `make docs`. With --check nothing is written; the status is 1 when a page is stale.
"""

import argparse
import sys
from pathlib import Path

from contract import compat_page, settings_page

HERE = Path(__file__).resolve().parent

PAGES = {HERE / "settings.md": settings_page.render, HERE / "compat.md": compat_page.render}


def stale() -> list[Path]:
    """The pages whose text is not what the code says."""
    return [
        path
        for path, render in PAGES.items()
        if not path.exists() or path.read_text(encoding="utf-8") != render()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    found = stale()
    for path in found:
        print(f"{path.relative_to(HERE.parent)} {'is stale: make docs' if check else 'is new'}")
        if not check:
            path.write_text(PAGES[path](), encoding="utf-8")
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.exit(main())
