"""Building blocks that the transformations share."""
