"""Help topics and manual pages, generated from parsers and tables."""
