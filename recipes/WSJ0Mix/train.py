"""Train and test a separator on WSJ0-mix: ``python train.py hparams/danet.yaml [--budget mini] [--key value …]``."""

import sys

from sb_ext.data.recipes import prepare_wsj0mix
from sb_ext.experiment import run

if __name__ == "__main__":
    run(sys.argv[1:], prepare_wsj0mix)
