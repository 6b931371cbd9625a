"""The study: rows to train, one small JSON a row, and the papers' claims beside what came out.

See ``study/README.md``, which ``python -m sb_ext.study table`` writes.
"""
