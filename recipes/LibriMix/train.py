"""Train and test a separator on LibriMix: ``python train.py hparams/mixcycle.yaml [--budget mini] [--key value …]``."""

from sb_ext.data.recipes import prepare_librimix
from sb_ext.experiment import main

if __name__ == "__main__":
    main(prepare_librimix)
