"""`python -m orchestrator.cli` is `baton`."""

import sys

from orchestrator.cli import main

sys.exit(main())
