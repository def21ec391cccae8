"""Trains: `python train.py --config configs/byol/....yaml --data_dir ...`; see mindbyol/commands/train.py."""

from mindbyol.commands.train import main

if __name__ == "__main__":
    main()
