"""Translation by a Transformer, German to English.

``translation`` is a small model on the embedded text, OpenStack's messages: minutes on a laptop.
``translation:multi30k`` and ``translation:iwslt14`` are for the texts of that name, whose files
``train``, ``valid`` and ``test`` with the languages' endings are in ``--config.data_dir``.
"""

from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from experiments.configs import base
from experiments.configs.lookup import look_up

_RECIPES: dict[str, dict[str, Any]] = {
    "openstack": {},
    # 7.6 million parameters; public repositories report 38 to 41 BLEU for models of this size.
    "multi30k": {
        "vocabulary": 8000,
        "buckets": (12, 16, 24, 40, 64),
        "max_tokens": 2500,
        "width": 256,
        "hidden": 1024,
        "layers": 3,
        "epochs": 20,
        "learning_rate": 1e-3,
        "warmup_steps": 800,
    },
    # fairseq's transformer_iwslt_de_en recipe, which the ASAM paper (Kwon et al., 2021) and Table 4
    # of the Lookbehind paper train with. The number of epochs is not stated anywhere.
    "iwslt14": {
        "vocabulary": 10_000,
        "buckets": (16, 32, 64, 96, 176),
        "max_tokens": 4096,
        "width": 512,
        "hidden": 1024,
        "layers": 6,
        "dropout": 0.3,
        "pre_norm": False,
        "share_embeddings": False,
        "epochs": 50,
        "learning_rate": 5e-4,
        "schedule": "inverse_sqrt",
        "warmup_steps": 4000,
    },
}


def get_config(recipe: str = "openstack") -> ConfigDict:
    """Returns the defaults; ``base.py`` documents the keys that all setups share.

    Args:
      recipe: "openstack", "multi30k" or "iwslt14".
    """
    config = base.get_config()
    config.task = "translation"
    config.dataset = "parallel_text"
    config.data_dir = placeholder(str)  # folder of the text's files; default: the embedded text
    config.source_language = "de"  # as the files' names end
    config.target_language = "en"
    config.lowercase = True
    config.vocabulary = 1500  # tokens of the byte-pair encoding that both languages share
    config.buckets = (8, 16, 32, 64)  # longest sentence of each, in tokens; longer are not used
    config.max_tokens = 1024  # padded tokens of a minibatch per language; batch_size is not used

    config.model = "transformer"
    config.width = 128
    config.hidden = 256  # features of the hidden layer of the perceptrons
    config.heads = 4
    config.layers = 2  # of the encoder, and of the decoder
    config.dropout = 0.1
    config.pre_norm = True  # False: LayerNorm behind each residual connection
    config.share_embeddings = True  # of source and target; the output shares the target's anyway
    config.label_smoothing = 0.1

    config.beam = 5
    config.length_penalty = 1.0  # exponent of the length by which log probabilities are divided

    config.epochs = 30
    config.optimizer = "adamw"
    config.betas = (0.9, 0.98)
    config.weight_decay = 1e-4
    config.learning_rate = 3e-3
    config.warmup_steps = 100
    config.update(look_up("recipe", recipe, _RECIPES))
    return config
