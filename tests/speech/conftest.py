"""Tiny real checkpoints, written by transformers' own classes."""

import pytest
import torch
from transformers import (
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
)

KINDS = {
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model),
    "hubert": (HubertConfig, HubertModel),
    "wavlm": (WavLMConfig, WavLMModel),
}
SIZES = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24,
    "conv_dim": [8, 8, 8], "conv_kernel": [10, 3, 2], "conv_stride": [5, 4, 4], "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Writes a checkpoint once: ``checkpoint("hubert", stable=True, normalize=False, sampling_rate=16000)``."""
    made = {}

    def write(kind="wav2vec2", stable=False, normalize=True, sampling_rate=16000):
        key = (kind, stable, normalize, sampling_rate)
        if key not in made:
            config, model = KINDS[kind]
            torch.manual_seed(0)
            norm = "layer" if stable else "group"
            folder = tmp_path_factory.mktemp(kind)
            model(config(do_stable_layer_norm=stable, feat_extract_norm=norm, **SIZES)).save_pretrained(folder)
            Wav2Vec2FeatureExtractor(sampling_rate=sampling_rate, do_normalize=normalize).save_pretrained(folder)
            made[key] = folder
        return str(made[key])

    return write
