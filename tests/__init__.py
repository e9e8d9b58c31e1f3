"""The tests; foldered by layer, beside ``support`` with what they share."""
