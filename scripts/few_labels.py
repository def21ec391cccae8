"""`mindbyol few-labels` from a checkout: see mindbyol/commands/few_labels.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mindbyol.commands.few_labels import main  # noqa: E402

if __name__ == "__main__":
    main()
