"""Files that are made to hurt their reader."""
