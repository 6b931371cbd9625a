"""sb_ext: single-channel speech separation recipes for SpeechBrain."""

__version__ = "0.4.1"
