"""What operators read of the gateway at work: one file a subject, each with its rows of the table."""
