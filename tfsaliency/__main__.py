"""The command line as a module: ``python -m tfsaliency``."""

import sys

from tfsaliency.cli import main

if __name__ == "__main__":
    sys.exit(main())
