"""``headgate admin``: the admin API from a shell."""
