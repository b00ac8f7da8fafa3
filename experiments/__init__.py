"""Training scripts on Flax NNX that use the library as its users would."""
