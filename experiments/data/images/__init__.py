"""Image datasets, each read by a function ``load``; ImageNet is streamed."""
