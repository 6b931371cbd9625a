"""The smallest HuBERT that is worth its name, and its folder in Hugging Face's format."""

import logging
from pathlib import Path

import torch
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

from sb_ext.data.building import build_once
from sb_ext.data.preparing import corpora_folder

logger = logging.getLogger(__name__)

SAMPLE_RATE = 16000


def small_config(hidden=128, blocks=3, channels=64):
    """HuBERT in small: its strides and its receptive field of 25 ms, narrow and shallow; half a million weights.

    Arguments
    ---------
    hidden, blocks : int
        Width and depth of the context network.
    channels : int
        Of each of the encoder's seven convolutions.
    """
    return HubertConfig(
        hidden_size=hidden, num_hidden_layers=blocks, num_attention_heads=4, intermediate_size=2 * hidden,
        conv_dim=[channels] * 7, feat_extract_norm="layer", do_stable_layer_norm=True,
        num_conv_pos_embeddings=64, num_conv_pos_embedding_groups=8, mask_time_prob=0.5, mask_time_length=5,
        hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, feat_proj_dropout=0.0, layerdrop=0.0,
    )  # fmt: skip


def save_speech_model(model, folder):
    """Write a model's ``config.json``, weights and ``preprocessor_config.json``; waveforms are to be normalised."""
    model.save_pretrained(folder)
    preprocessor = Wav2Vec2FeatureExtractor(sampling_rate=SAMPLE_RATE, do_normalize=True, return_attention_mask=False)
    preprocessor.save_pretrained(folder)


def untrained(seed=0, hidden=128, blocks=3, channels=64):
    """A folder with a small HuBERT that was never trained, for checks that a recipe runs.

    Arguments
    ---------
    seed : int
        Of its weights.
    hidden, blocks, channels : int
        As small_config's.

    Returns
    -------
    str
        ``speech_models/untrained-hubert-…`` where the embedded corpora are; made once.
    """
    logger.warning("The speech model's weights are random: train a small one with python -m sb_ext.speech.pretrain")
    settings = {"hidden": hidden, "blocks": blocks, "channels": channels, "seed": seed}
    name = "-".join(map(str, ("untrained", "hubert", *settings.values())))

    def build(folder):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            save_speech_model(HubertModel(small_config(hidden, blocks, channels)), folder)

    return str(build_once(Path(corpora_folder(), "speech_models", name), settings, build))
