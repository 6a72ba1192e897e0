"""All or nothing: what surgery asks of the file system, and the steps that leave the old checkpoint or the new one."""
