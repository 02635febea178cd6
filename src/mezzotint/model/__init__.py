"""A trained model, ready to be asked; what it makes; what that costs."""
