"""`mindbyol make-stamps` from a checkout: see mindbyol/commands/make_stamps.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mindbyol.commands.make_stamps import main  # noqa: E402

if __name__ == "__main__":
    main()
