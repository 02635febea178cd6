"""What a thing is (points, pictures), how it is coded for the network, shown and saved."""
