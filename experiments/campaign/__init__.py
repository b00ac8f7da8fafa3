"""The runs of recipes: their folders and cost, their execution, and the collection of results."""
