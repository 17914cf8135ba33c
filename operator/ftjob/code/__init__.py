"""A folder with a user's code as one archive: which files belong to it, and how they are packed."""
