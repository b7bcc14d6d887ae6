"""From arrays of images to numbers, intervals, and verdicts on the article's claims."""
