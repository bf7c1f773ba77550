"""Weekly playlists from listening logs: implicit-feedback ranking and the making of playlists."""
