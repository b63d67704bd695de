"""The maths of training: pure tensor functions, the reference that faster twins are held against."""
