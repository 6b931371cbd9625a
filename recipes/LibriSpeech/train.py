"""Train a speaker encoder on a folder like LibriSpeech: ``python train.py hparams/rawnet2.yaml [--key value …]``."""

import sys

from sb_ext.data.speakers import prepare_speakers
from sb_ext.experiment import run

if __name__ == "__main__":
    run(sys.argv[1:], prepare_speakers)
