"""The items of the papers and of this project's comparisons."""
