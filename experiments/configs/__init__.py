"""One file per setup, each with a ``get_config`` that returns every key and its default."""
