"""The smallest HuBERT that is worth its name, and its folder in Hugging Face's format."""

import logging
import os
import shutil
import tempfile

import torch
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

from sb_ext.data.recipes import corpora_folder

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
    os.makedirs(folder, exist_ok=True)
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
        ``speech_models/untrained-…`` where the embedded corpora are; made once.
    """
    name = f"untrained-{hidden}-{blocks}-{channels}-{seed}"
    parent = os.path.join(corpora_folder(), "speech_models")
    folder = os.path.join(parent, name)
    logger.warning("The speech model's weights are random: train a small one with python -m sb_ext.speech.pretrain")
    if not os.path.isdir(folder):
        os.makedirs(parent, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent) as temporary, torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            save_speech_model(HubertModel(small_config(hidden, blocks, channels)), os.path.join(temporary, name))
            _move(os.path.join(temporary, name), folder)
    return folder


def _move(made, folder):
    """Into place at once; another process may have been faster."""
    try:
        os.rename(made, folder)
    except OSError:
        if not os.path.isdir(folder):
            raise
        shutil.rmtree(made)
