"""The audit log: who did what, in chains of records that show when one was changed."""
