"""What many callers at once share: a value that is loaded once, and a bound on how many work."""
