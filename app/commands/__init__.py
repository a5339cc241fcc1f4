"""The work behind the commands, one file each."""
