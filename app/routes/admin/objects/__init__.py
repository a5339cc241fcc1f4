"""What operators make at run time: keys, tenants, limits and budgets."""
