"""The main process's work: listening, starting workers anew, hearing them, answering for them."""
