"""What the guardrails find in labelled texts, and what they cost."""
