"""`python -m tunewright`: the same as `tw`."""

import sys

from tunewright.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
