"""Stage `dry_run`: may this grader be a reward?"""
