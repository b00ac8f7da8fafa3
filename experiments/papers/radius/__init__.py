"""What a proposed radius loses against one that is searched, on four tasks."""
