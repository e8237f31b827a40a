"""What a program can see in a text: words, near duplicates and faults; and lists of names."""
