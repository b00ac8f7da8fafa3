"""Files and folders that other processes read, on disks that may be full."""
