"""Train and test a separator on LibriMix: ``python train.py hparams/mixcycle.yaml [--budget mini] [--key value …]``."""

import sys

from sb_ext.data.recipes import prepare_librimix
from sb_ext.experiment import run

if __name__ == "__main__":
    run(sys.argv[1:], prepare_librimix)
