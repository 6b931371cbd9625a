"""Train a speaker encoder on a folder like LibriSpeech: ``python train.py hparams/rawnet2.yaml [--key value …]``."""

from sb_ext.data.speakers import prepare_speakers
from sb_ext.experiment import main

if __name__ == "__main__":
    main(prepare_speakers)
