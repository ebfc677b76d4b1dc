"""Networks larger than a chip: parts placed one after the other, each driving the next."""
