"""`mindbyol stl10-experiment` from a checkout: see mindbyol/commands/stl10_experiment.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mindbyol.commands.stl10_experiment import main  # noqa: E402

if __name__ == "__main__":
    main()
