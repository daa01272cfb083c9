"""Who does not use dirty apps does not pay for them."""

import subprocess
import sys


def test_the_master_imports_nothing_of_them() -> None:
    program = (
        "import sys, monoceros.arbiter, monoceros.app;"
        "print([n for n in sys.modules if n.startswith(('monoceros.dirty', 'asyncio'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
