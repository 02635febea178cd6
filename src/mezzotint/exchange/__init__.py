"""Other programs' objects in the forms of this one."""
