"""One file per set-up, each with a ``get_config`` that returns every key and its default."""
