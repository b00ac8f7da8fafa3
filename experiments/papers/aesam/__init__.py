"""Tables and figures of AE-SAM (Jiang et al., ICLR 2023, arXiv 2304.14647)."""
