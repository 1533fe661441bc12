"""Searches for fault schedules that break a promise, and makes what it finds short."""
