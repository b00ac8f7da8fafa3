"""Meshes, microbatches and several hosts."""
