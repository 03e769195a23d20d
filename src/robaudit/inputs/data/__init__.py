"""Data sets and the images of users: what is known of them, and how they are read."""
