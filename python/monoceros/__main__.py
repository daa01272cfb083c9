"""`python -m monoceros`: the same as the command `monoceros`."""

from monoceros.cli import main

if __name__ == "__main__":
    main(prog="monoceros")
