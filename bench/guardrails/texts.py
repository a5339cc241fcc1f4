"""Texts of our own to measure with."""

CLEAN = (
    "The committee met on a grey morning and talked for most of it about the bridge. Nobody had asked "
    "the people who lived beside the river, and so the plan, which looked so reasonable on paper, was "
    "put aside. A younger member suggested that they walk down together and look at the water before "
    "they decided anything. They found it higher than they had thought, and slower, and in the end "
    "they agreed to wait until spring. Summaries of the meeting were sent to everyone who had come, "
    "along with a short list of questions that were still open: who would pay, who would build, and "
    "whether the old road could carry the stones. "
)
DENSE = "Mail a.b@example.com or call +49 30 1234567, card 4111 1111 1111 1111, 192.168.10.20. "
NASTY = "aaaaaaaaaaaaaaaaaaaaaaaa 1234 5678 9012 3456 7890 1234 key: secret: token= eyJeyJeyJ --- "
