"""Tasks: the model, loss and evaluation that training and analysis share."""
