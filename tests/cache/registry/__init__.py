"""What operators make at run time."""
