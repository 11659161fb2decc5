"""Readers of the files that microscopes write; each opens its library only when such a file is opened."""
