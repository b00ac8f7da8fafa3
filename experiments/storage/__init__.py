"""Files and folders that other processes read, or write at the same time."""
