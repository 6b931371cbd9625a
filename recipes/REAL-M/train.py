"""Train a separator on recordings without references: ``python train.py hparams/mixcycle.yaml [--key value …]``."""

import sys

from sb_ext.data.recipes import prepare_recordings
from sb_ext.experiment import run

if __name__ == "__main__":
    run(sys.argv[1:], prepare_recordings)
