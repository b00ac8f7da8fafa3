"""Tables and figures of Lookbehind-SAM (Mordido et al., ICML 2024, arXiv 2307.16704)."""
