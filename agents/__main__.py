"""`python -m agents` is `baton-agent`."""

import sys

from agents.cli import main

if __name__ == "__main__":
    sys.exit(main())
