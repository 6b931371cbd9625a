"""Self-evaluate a model on recordings without references: ``python self_evaluate.py MODEL FOLDER [--repeats 100]``."""

import sys

from sb_ext.evaluation.self_evaluate import main

if __name__ == "__main__":
    main(sys.argv[1:])
