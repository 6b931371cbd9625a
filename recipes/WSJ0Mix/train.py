"""Train and test a separator on WSJ0-mix: ``python train.py hparams/danet.yaml [--budget mini] [--key value …]``."""

from sb_ext.data.recipes import prepare_wsj0mix
from sb_ext.experiment import main

if __name__ == "__main__":
    main(prepare_wsj0mix)
