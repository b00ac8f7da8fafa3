"""Translation by a Transformer: a small one on embedded text, minutes on a laptop.

The embedded text is OpenStack's messages, German to English. With ``--config.data_dir`` it is any
parallel text: files ``train``, ``valid`` and ``test`` with the languages' endings.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from experiments.configs import base


def get_config() -> ConfigDict:
    """Returns the defaults; ``base.py`` documents the keys that all setups share."""
    config = base.get_config()
    config.task = "translation"
    config.dataset = "parallel_text"
    config.data_dir = placeholder(str)  # folder of the text's files; default: the embedded text
    config.source_language = "de"  # as the files' names end
    config.target_language = "en"
    config.lowercase = True
    config.vocabulary = 1500  # tokens of the byte-pair encoding that both languages share
    config.buckets = (8, 16, 32, 64)  # longest sentence of each, in tokens; longer are left out
    config.max_tokens = 1024  # padded tokens of a minibatch a side; batch_size is not used

    config.model = "transformer"
    config.width = 128
    config.hidden = 256  # of the perceptrons
    config.heads = 4
    config.layers = 2  # of the encoder, and of the decoder
    config.dropout = 0.1
    config.pre_norm = True  # False: LayerNorm behind each residual connection
    config.share_embeddings = True  # of source and target; the output shares the target's anyway
    config.label_smoothing = 0.1

    config.beam = 5
    config.length_penalty = 1.0  # exponent of the length by which log probabilities are divided

    config.epochs = 40
    config.optimizer = "adamw"
    config.betas = (0.9, 0.98)
    config.weight_decay = 1e-4
    config.learning_rate = 3e-3
    config.warmup_steps = 100
    config.eval_batch_size = 1000
    return config
