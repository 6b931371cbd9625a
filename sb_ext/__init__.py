"""sb_ext: single-channel speech separation recipes for SpeechBrain."""

__version__ = "0.2.0"
