"""The record of what cores were given and asked for, and its replay; sim and live write it."""
