"""What lets runs start, and when: triggers, groups, schedules, debounce, throttle, children, retries."""
