"""Other programs' objects in the forms of this one, and its models in theirs."""
