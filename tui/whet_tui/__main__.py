"""The `whet` command. Nothing heavy is loaded before it is known what was asked for."""

import os
import sys

from whet_tui.cli.root import run


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
