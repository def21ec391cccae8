"""`mindbyol map` from a checkout: see mindbyol/commands/map.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mindbyol.commands.map import main  # noqa: E402

if __name__ == "__main__":
    main()
