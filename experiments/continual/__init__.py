"""Continual learning: task streams, replay, C-MAML and Lookbehind-C-MAML, forgetting."""
