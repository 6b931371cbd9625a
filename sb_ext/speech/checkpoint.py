"""Loading a self-supervised speech model of Hugging Face through SpeechBrain, or saying what is wrong with it."""

import os
import re
from pathlib import Path

from huggingface_hub.constants import HF_HUB_CACHE
from speechbrain.integrations.huggingface.wav2vec2 import Wav2Vec2
from transformers import Wav2Vec2FeatureExtractor

from sb_ext.values import COUNT, SWITCH

PREPROCESSOR = "preprocessor_config.json"
# Drawn anew without harm: it stands for masked frames in pretraining only.
UNUSED = {"masked_spec_embed"}


class SpeechModel(Wav2Vec2):
    """SpeechBrain's wrapper of wav2vec 2.0, HuBERT and WavLM, frozen, that refuses a checkpoint without its weights.

    Arguments
    ---------
    source : str
        A folder, or a hub name.
    all_layers : bool
        Whether ``extract_features`` gives all layers, ``[layers + 1, N, L, D]``, or the last one, ``[N, L, D]``.
    """

    def __init__(self, source, all_layers=False):
        super().__init__(source, save_path=HF_HUB_CACHE, freeze=True, output_all_hiddens=all_layers)
        # Its layer norm is not what the checkpoints were trained with where a signal is quiet.
        self.normalize_wav = False
        for layer in self.model.feature_extractor.conv_layers:
            layer.activation.register_forward_pre_hook(_contiguous)

    def override_config(self, config):
        """See HFTransformersInterface; ValueError for a model that does not take waveforms."""
        if not hasattr(config, "conv_kernel"):
            raise ValueError(
                f"it is a {config.model_type}, which takes no waveforms as wav2vec 2.0, HuBERT and WavLM do"
            )
        return config

    def _from_pretrained(self, *args, **kwargs):
        """As there; transformers draws weights that a file does not hold at random, and says so in a warning only."""
        super()._from_pretrained(*args, output_loading_info=True, **kwargs)
        self.model, info = self.model
        missing = sorted(set(info["missing_keys"]) - UNUSED)
        if missing:
            raise ValueError(f"{len(missing)} weights are not in the file, first {missing[0]}")
        beyond = sorted(name for name in info["unexpected_keys"] if re.search(r"(^|\.)encoder\.layers\.", name))
        if beyond:
            raise ValueError(
                f"the file holds blocks beyond the {self.model.config.num_hidden_layers} of config.json's "
                f"num_hidden_layers, first {beyond[0]}"
            )


def _contiguous(activation, inputs):
    """Layer norm leaves its result transposed, for which GELU's backward pass is several times as slow."""
    return tuple(one.contiguous() for one in inputs)


def load_speech_model(source, all_layers=False):
    """Load a frozen model and check all that it needs.

    Arguments
    ---------
    source : str
        A folder with ``config.json``, weights and ``preprocessor_config.json``, or a hub name.
    all_layers : bool
        As SpeechModel's.

    Returns
    -------
    SpeechModel

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or a file is not in it.
    ValueError
        If what is there is no speech model, or cannot be fetched.

    Example
    -------
    >>> load_speech_model("./nowhere")
    Traceback (most recent call last):
    FileNotFoundError: speech_model: there is no folder ./nowhere; give the folder of a speech model, or a hub name
    """
    source = os.path.expanduser(str(source))
    if os.path.isdir(source):
        _check_files(Path(source))
    elif source[:1] in "./~" or source.count("/") > 1:
        raise FileNotFoundError(
            f"speech_model: there is no folder {source}; give the folder of a speech model, or a hub name"
        )
    try:
        model = SpeechModel(source, all_layers)
    except Exception as error:  # transformers, the hub's client and safetensors have each their own kinds
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(
            f"speech_model: no speech model can be loaded from {source} ({reason}); give a folder or a hub name of a "
            "wav2vec 2.0, HuBERT or WavLM model, or train a small one: python -m sb_ext.speech.pretrain --help"
        ) from error
    _check_extractor(model.feature_extractor, source)
    return model


def _check_extractor(extractor, source):
    where = f"speech_model: {source}: {PREPROCESSOR}"
    if not isinstance(extractor, Wav2Vec2FeatureExtractor):
        raise ValueError(f"{where} is of a {type(extractor).__name__}; copy the one that belongs to the model")
    for key, rule in (("sampling_rate", COUNT), ("do_normalize", SWITCH)):
        value = getattr(extractor, key)
        if not rule.holds(value):
            raise ValueError(f"{where}: {key}: expected {rule.words}, received {value!r}")


def _check_files(folder):
    names = os.listdir(folder)
    weights = any(name.endswith((".safetensors", ".bin")) for name in names)
    needed = {"config.json": "config.json" in names, PREPROCESSOR: PREPROCESSOR in names}
    missing = [name for name, there in {**needed, "weights (*.safetensors or *.bin)": weights}.items() if not there]
    if missing:
        raise FileNotFoundError(
            f"speech_model: {folder} holds no {missing[0]}; copy it there from where the model comes from"
            + (" (it says the sample rate and whether waveforms are normalised)" if missing[0] == PREPROCESSOR else "")
        )
