"""The special tokens, first in each vocabulary."""

PAD, BOS, EOS, UNK = range(4)  # padding is 0 for the model too
