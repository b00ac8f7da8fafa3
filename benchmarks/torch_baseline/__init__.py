"""The official algorithm in PyTorch, to compare with."""
