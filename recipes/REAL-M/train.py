"""Train a separator on recordings without references: ``python train.py hparams/mixcycle.yaml [--key value …]``."""

from sb_ext.data.recipes import prepare_recordings
from sb_ext.experiment import main

if __name__ == "__main__":
    main(prepare_recordings)
