"""The console script, which can be stopped from its first moment on."""

from __future__ import annotations

import sys

STOPPED = "keras-resnets: stopped; the same command resumes."


def entry() -> None:
    """Imports the command line and runs it; Ctrl-C gets its word during the imports, too."""
    try:
        from keras_resnets.commands.cli import main

        status = main()
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        status = 1
    sys.exit(status)


if __name__ == "__main__":
    entry()
