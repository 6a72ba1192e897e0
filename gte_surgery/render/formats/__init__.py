"""A report in each format that another program reads."""
