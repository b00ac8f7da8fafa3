"""The ready-made methods: each is one line that joins building blocks."""
