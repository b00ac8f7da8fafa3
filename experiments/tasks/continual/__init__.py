"""Lifelong learning: learners, replay memory, C-MAML and Lookbehind-C-MAML."""
