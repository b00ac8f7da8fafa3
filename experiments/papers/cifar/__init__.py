"""This project's comparison on CIFAR-10: small images, a small network, two kinds of labels."""
