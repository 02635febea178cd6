"""What looks at pictures: networks from pictures to features and class probabilities."""
