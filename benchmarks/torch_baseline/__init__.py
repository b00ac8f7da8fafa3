"""The official algorithm in PyTorch."""
