"""Stage `probe`: is this model the base, or the assistant, that it is said to be?"""
