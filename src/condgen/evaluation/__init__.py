"""Arrays of images -> metrics with intervals, and verdicts on the article's claims."""
