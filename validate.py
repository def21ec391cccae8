"""Scores: `python validate.py --config ... --ckpt_path ...`; see mindbyol/commands/validate.py."""

from mindbyol.commands.validate import main

if __name__ == "__main__":
    main()
